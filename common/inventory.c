#include "common/inventory.h"

#define RECORD_SELF struct gpu_inventory
RECORD_DEFINE(gpu_inventory, GPU_INVENTORY_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct inventory
RECORD_DEFINE(inventory, INVENTORY_FIELDS)
#undef RECORD_SELF
