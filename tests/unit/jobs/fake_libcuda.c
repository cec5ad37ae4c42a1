/* A libcuda.so.1 as far as cuDNN needs one to make plans for a GPU that isn't there: its engines that are compiled at run time load what
 * they compiled, and are told that it went well. Nothing can be launched. */
#define FAKE(name, ...) int name(__VA_ARGS__); int name(__VA_ARGS__)
#define IDLE(name) FAKE(name, void) { return 0; }
#define HANDLE(name, ...) FAKE(name, void **handle, __VA_ARGS__) { *handle = handle; return 0; }

FAKE(cuDriverGetVersion, int *version) { *version = 13000; return 0; }
HANDLE(cuLibraryLoadData, const void *code)
HANDLE(cuLibraryGetKernel, void *library, const char *name)
HANDLE(cuLibraryGetModule, void *library)
HANDLE(cuModuleLoadData, const void *code)
HANDLE(cuModuleGetFunction, void *module, const char *name)
IDLE(cuLibraryUnload) IDLE(cuKernelSetAttribute) IDLE(cuFuncSetAttribute)

/* Looked up, never called. */
IDLE(cuCtxGetCurrent) IDLE(cuCtxGetLimit) IDLE(cuCtxPopCurrent) IDLE(cuCtxPushCurrent) IDLE(cuDeviceGet) IDLE(cuDeviceGetCount)
IDLE(cuGetErrorName) IDLE(cuGetErrorString) IDLE(cuKernelGetAttribute) IDLE(cuLaunchCooperativeKernel) IDLE(cuLaunchKernel)
IDLE(cuLaunchKernelEx) IDLE(cuLibraryLoadFromFile) IDLE(cuLinkAddData) IDLE(cuLinkComplete) IDLE(cuLinkCreate) IDLE(cuLinkDestroy)
IDLE(cuOccupancyMaxPotentialClusterSize) IDLE(cuStreamGetCtx)
