#!/bin/sh
# What goes wrong for users of muster-train and muster-infer: each is a sentence that says what, where and what to do, and the right exit
# code. Exit: 0, 1, or 77 where the programs are missing.
set -u
bin=$(cd "${BIN:-build/bin}" 2>/dev/null && pwd) || { echo "skipped: nothing is built in ${BIN:-build/bin}"; exit 77; }
for program in muster-train muster-infer; do
    [ -x "$bin/$program" ] || { echo "skipped: $program is not built"; exit 77; }
done

work=$(mktemp -d /tmp/muster-bad.XXXXXX)
trap 'umount "$work/small" 2>/dev/null; rm -rf "$work"' EXIT
unset MUSTER_SOCKET RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE CUDA_VISIBLE_DEVICES OMPI_COMM_WORLD_SIZE PMIX_RANK
seq 1 4000 >"$work/text"
bad=0

expect() { # CODE PART COMMAND...: the command ends with CODE, and says PART
    code=$1 part=$2
    shift 2
    "$@" >"$work/log" 2>&1
    got=$?
    if [ "$got" -ne "$code" ] || ! grep -qF -- "$part" "$work/log"; then
        echo "not ok - exit code $got, not $code, or without '$part': $*"
        sed 's/^/    /' "$work/log"
        bad=1
    else
        echo "ok - $part"
    fi
}

# shellcheck disable=SC2317  # called by expect
train() { "$bin/muster-train" --layers 1 --channels 32 --context 32 --batch 4 --threads 1 "$@"; }

expect 2 "nothing to train on: name a text" "$bin/muster-train"
expect 2 "did you mean --steps?" train "$work/text" --step 5
expect 2 "--lr must be larger than 0, not 0" train "$work/text" --lr 0
expect 1 "opening the text $work/none: No such file" train "$work/none"
printf 'too short' >"$work/short"
expect 2 "has 9 bytes; a context of 32 needs at least 330" train "$work/short"
expect 1 "try a lower --lr than 1e+30" train "$work/text" --lr 1e30 --steps 20
expect 2 "submit it with --launcher mpirun" env WORLD_SIZE=4 RANK=1 "$bin/muster-train" "$work/text"
expect 0 "parameters" train --dry-run
head -c 5000000 /dev/zero >"$work/zeros"
expect 0 "; 5 MiB of data" train --dry-run "$work/zeros"
expect 0 "memory of rank 0  1 MiB more, for the copy" train --dry-run --checkpoint "$work/model"
expect 2 "--keep" train "$work/text" --keep 1

# A file of settings: flags go over it, what it says wrongly has a place, and --dry-run prints one that says the same.
printf 'model: gpt\nsteps: 7\ndata: [%s/none]\nlog_every: 1\n' "$work" >"$work/config.yaml"
expect 2 "$work/config.yaml:4:1: log_every: no such setting (did you mean log-every?)" train --config "$work/config.yaml"
printf 'model: gpt\nsteps: 7\ndata: [%s/none]\n' "$work" >"$work/config.yaml"
expect 1 "opening the text $work/none: No such file" train --config "$work/config.yaml"
expect 0 "step 7/7" train "$work/text" --config "$work/config.yaml"
expect 0 "step 2/2" train --config "$work/config.yaml" --steps 2 --data "$work/text"
sed 's/^steps: 7/steps: many/' "$work/config.yaml" >"$work/wrong.yaml"
expect 2 "$work/wrong.yaml:2:8: steps: " train --config "$work/wrong.yaml"
expect 2 "$work/missing.yaml: can't be read" train --config "$work/missing.yaml"
settings() { "$bin/muster-train" --dry-run "$@" | sed -n '/^# the settings/,$p'; }
settings --config "$work/config.yaml" --lr 0.1 --reduce exact >"$work/once.yaml"
settings --config "$work/once.yaml" >"$work/again.yaml"
if [ "$(wc -l <"$work/once.yaml")" -gt 20 ] && cmp "$work/once.yaml" "$work/again.yaml"; then
    echo "ok - --dry-run prints the settings as a file that says the same"
else
    echo "not ok - the settings that --dry-run prints are not those that it was given"
    bad=1
fi

expect 0 "checkpoint of step 20 written" train "$work/text" --steps 20 --checkpoint "$work/model" --checkpoint-every 10
expect 5 "is of a GPT of 1 layers" train "$work/text" --steps 20 --checkpoint "$work/model" --heads 2
echo x >>"$work/model/step-00000020/model.safetensors"
expect 0 "checkpoint of step 20 isn't used: $work/model/step-00000020/model.safetensors is damaged" \
    train "$work/text" --steps 20 --checkpoint "$work/model"
expect 0 "resumed from $work/model/step-00000020" train "$work/text" --steps 20 --checkpoint "$work/model"
expect 0 "begun with the weights of $work/model/step-00000020" \
    train "$work/text" --steps 1 --init "$work/model/step-00000020"
expect 5 "use the same options, or another --init folder" train "$work/text" --heads 2 --init "$work/model/step-00000020"
expect 1 "unable to open $work/none/config.json: No such file" train "$work/text" --init "$work/none"
for file in "$work"/model/*/optimizer.safetensors; do echo x >>"$file"; done
expect 1 "remove the folder to start anew" train "$work/text" --steps 20 --checkpoint "$work/model"

expect 2 "by --checkpoint DIR" "$bin/muster-infer" --prompt x
expect 3 "train first, with muster-train --checkpoint $work/none" "$bin/muster-infer" --checkpoint "$work/none"
expect 2 "give one of them" "$bin/muster-infer" --checkpoint "$work/none" --prompt x --images "$work"
printf '{"prompt": "a"}\n{"prompt": "b", "top_p": 7}\n' >"$work/prompts"
expect 2 "$work/prompts:2: top_p must be above 0 and at most 1, not 7" "$bin/muster-infer" --checkpoint "$work/none" \
    --prompts "$work/prompts"
expect 1 "none of the 2 checkpoints" "$bin/muster-infer" --checkpoint "$work/model"

# Tokens: a tokenizer that can't be used, tokens that aren't its, a checkpoint of other tokens.
# shellcheck disable=SC2317
tokenize() { "$bin/muster-train" tokenize "$@"; }
expect 2 "nothing to make tokens of: name a text" tokenize --out "$work/tokens"
expect 2 "name a folder for tokenizer.json and text.tokens by --out DIR" tokenize "$work/text"
expect 2 "give one of them" tokenize "$work/text" --out "$work/tokens" --vocabulary 300 --tokenizer "$work/text"
expect 2 "vocabulary" tokenize "$work/text" --out "$work/tokens" --vocabulary 256
expect 1 "opening the text $work/none: No such file" tokenize "$work/none" --out "$work/tokens"
expect 1 "creating the folder $work/none/tokens: No such file" tokenize "$work/text" --out "$work/none/tokens"
expect 1 "opening the tokenizer $work/none: No such file" tokenize "$work/text" --out "$work/tokens" --tokenizer "$work/none"
expect 2 "$work/text: line 1, column" tokenize "$work/text" --out "$work/tokens" --tokenizer "$work/text"
expect 0 "learned 280 tokens" tokenize "$work/text" --out "$work/tokens" --vocabulary 280
expect 0 "learned 300 tokens" tokenize "$work/text" --out "$work/others" --vocabulary 300
expect 0 "vocabulary 280: " train "$work/tokens/text.tokens" --steps 2 --checkpoint "$work/token-model"
expect 5 "is of a GPT of 1 layers, 4 heads, 32 channels, context 32, vocabulary 280; asked is" \
    train "$work/others/text.tokens" --steps 2 --checkpoint "$work/token-model"
sed 's/"padding": null/"padding":  null/' "$work/tokens/tokenizer.json" >"$work/tokenizer.json"
expect 0 "tokens of 280" tokenize "$work/text" --out "$work/again" --tokenizer "$work/tokenizer.json"
expect 5 "was trained with another tokenizer than the data's" train "$work/again/text.tokens" --steps 2 --checkpoint "$work/token-model"
expect 5 "was made by another tokenizer than the first file" train "$work/tokens/text.tokens" "$work/others/text.tokens"
expect 2 "$work/text: is no file of tokens" train "$work/tokens/text.tokens" "$work/text"
cp "$work/others/tokenizer.json" "$work/again"
expect 5 "was made by another tokenizer than $work/again/tokenizer.json" train "$work/again/text.tokens"
rm "$work/again/tokenizer.json"
expect 1 "the tokenizer of $work/again/text.tokens: opening the tokenizer $work/again/tokenizer.json" train "$work/again/text.tokens"
head -c 999 "$work/tokens/text.tokens" >"$work/others/text.tokens"
expect 2 "$work/others/text.tokens: is cut short, or too long: 999 bytes" train "$work/others/text.tokens"
expect 2 "tokens; a context of 65536 needs at least 655370" train "$work/tokens/text.tokens" --context 65536
echo x >>"$work/token-model/step-00000002/tokenizer.json"
expect 1 "step-00000002/tokenizer.json is damaged" "$bin/muster-infer" --checkpoint "$work/token-model"
# A vocabulary without its tokenizer, as a manifest that doesn't know of one has it.
expect 0 "checkpoint of step 2 written" train "$work/tokens/text.tokens" --steps 2 --checkpoint "$work/bare-model"
python3 - "$work/bare-model/step-00000002/manifest.json" <<'PYTHON'
import json, sys
manifest = json.load(open(sys.argv[1]))
del manifest["files"]["tokenizer.json"]
json.dump(manifest, open(sys.argv[1], "w"))
PYTHON
expect 2 "has a vocabulary of 280 and no tokenizer.json" "$bin/muster-infer" --checkpoint "$work/bare-model"

# Answers: of other prompts, and where no more can be written.
expect 0 "checkpoint of step 5 written" train "$work/text" --steps 5 --checkpoint "$work/text-model"
echo mine >"$work/out"
printf 'short\n{"prompt": "%0300d"}\n' 0 >"$work/long"
expect 2 "$work/long:2: the prompt has 300 bytes, and the model sees" \
    "$bin/muster-infer" --checkpoint "$work/text-model" --prompts "$work/long"
expect 5 "$work/out:1 isn't an answer to request 1 of these" "$bin/muster-infer" --checkpoint "$work/text-model" --prompt x \
    --out "$work/out"
# shellcheck disable=SC2317
short() {
    (trap '' XFSZ; ulimit -f 1; "$bin/muster-infer" --checkpoint "$work/text-model" --prompt x --count 30 --out "$work/out2" >/dev/null)
}
expect 1 "writing the answers: File too large" short

# A GPU that is real by its name needs NCCL; which of the two sentences comes depends on what is installed here.
if ! env CUDA_VISIBLE_DEVICES=GPU-00000000-0000-0000-0000-000000000000 "$bin/muster-train" "$work/text" --steps 1 >"$work/log" 2>&1 &&
    grep -qE 'muster-collective-nccl.so|CUDA, ' "$work/log"; then
    echo "ok - a real GPU is never passed over in silence"
else
    echo "not ok - a real GPU was passed over"
    bad=1
fi

# A full disk: room for one checkpoint. The training goes on without the next ones; that its last is among them is an error.
# Nothing is lost: with more room it resumes. Needs the right to mount.
mkdir "$work/small"
if mount -t tmpfs -o size=400k none "$work/small" 2>/dev/null; then
    # shellcheck disable=SC2317
    full() { train "$work/text" --steps 20 --checkpoint "$work/small/model" --checkpoint-every 5; }
    expect 1 "No space left on device; the ones before are kept" full
    [ "$(grep -c "^warning: no checkpoint at step " "$work/log")" -eq 3 ] || { echo "not ok - the training didn't go on"; bad=1; }
    grep -q "its last checkpoint can't be written" "$work/log" || { echo "not ok - nothing is said of the last checkpoint"; bad=1; }
    mount -o remount,size=4m "$work/small"
    expect 0 "resumed from $work/small/model/step-00000005" full
else
    echo "skipped - a full disk: this user may not mount a tmpfs"
fi
exit $bad
