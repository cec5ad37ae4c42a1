#!/bin/sh
# muster-infer --images: what a small MLP makes of the test images is what its training said of them, on 1 and 3 ranks the same, and the
# matrix and the lines agree with it. Exit: 0, 1, or 77 where something is missing.
. "$(dirname -- "$0")/jobs.sh"
need muster-train muster-infer mpirun python3

# Images of 8 x 8 pixels whose class is the brightest of 4 quarters; the test images are darker, so that how they are normalised matters.
mkdir "$work/set"
python3 - "$work/set" <<'END'
import random, struct, sys
random.seed(1)
for part, count, level in ("train", 2000, 90), ("t10k", 301, 70):
    images, labels = bytearray(), bytearray()
    for _ in range(count):
        label = random.randrange(4)
        labels.append(label)
        for y in range(8):
            for x in range(8):
                bright = level if y // 4 * 2 + x // 4 == label else level // 2
                images.append(max(0, min(255, int(random.gauss(bright, 40)))))
    open(f"{sys.argv[1]}/{part}-images-idx3-ubyte", "wb").write(struct.pack(">4B3I", 0, 0, 8, 3, count, 8, 8) + images)
    open(f"{sys.argv[1]}/{part}-labels-idx1-ubyte", "wb").write(struct.pack(">4BI", 0, 0, 8, 1, count) + labels)
END

"$bin/muster-train" --model mlp --data "$work/set" --hidden 16 --classes 4 --image-size 8 --steps 60 --batch 32 --threads 1 \
    --checkpoint "$work/model" >"$work/log" 2>&1 || fail "the training"
want=$(sed -nE 's/.*accuracy ([0-9.]+) at step 60.*/\1/p' "$work/log")
for n in 1 3; do
    mpirun --oversubscribe --bind-to none -np "$n" "$bin/muster-infer" --checkpoint "$work/model" --images "$work/set" \
        --out "$work/rows$n" >"$work/log" 2>&1 || fail "$n ranks"
    grep -q "^accuracy $want: [0-9]* of 301 images" "$work/log" || fail "$n ranks find another accuracy than the training: $want"
done
cmp "$work/rows1" "$work/rows3" || fail "the lines of 3 ranks differ from those of one"
right=$(grep -cE '"label":([0-9]+),"predicted":\1}' "$work/rows1")
grep -q "^accuracy $want: $right of 301" "$work/log" || fail "$right lines are right"
diagonal=$(awk '/predicted/ { at = NR } at && NR > at + 1 && NF == 5 { sum += $(NR - at) } END { print sum }' "$work/log")
[ "$diagonal" = "$right" ] || fail "the matrix has $diagonal on its diagonal, not $right"
echo "ok - accuracy $want by the training and by muster-infer, on 1 and 3 ranks, in the matrix and in the lines"

rm "$work"/set/train-*
"$bin/muster-infer" --checkpoint "$work/model" --images "$work/set" >"$work/log" 2>&1 || fail "without the training images"
grep -q "warning: normalised by the test images" "$work/log" || fail "nothing is said of another normalisation"
! "$bin/muster-infer" --checkpoint "$work/model" --prompt x >"$work/log" 2>&1 || fail "text of a model of images"
grep -q "name a folder of them by --images" "$work/log" || fail "what to do isn't said"
echo "ok - another normalisation and another kind of model are told"
