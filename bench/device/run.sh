#!/usr/bin/env bash
# Measures Gimbal on an accelerator beside compiled PyTorch, in at most eight minutes, without a network.
#
#   CGO_ENABLED=0 go build -o bench/device/bin/ ./cmd/gimbal ./cmd/gimbal-device      # where Go is
#   bench/device/run.sh OUT [1|2]                                                     # where the card is
#
# Part 1 has the 124M model, part 2 the 350M one, a lost device, a kill and the 10.7M model. Plugin, CUDA libraries and
# PyTorch are those of $PYTHON, whose folder comes first in PATH. Sections stand in the order of their worth, each with a
# limit of time, and everything is written out when it ends: OUT/device.json, OUT/device.md. What there was no time for
# is named there.
#
# DEVICE is cuda, or the path of a plugin. SHORT=1 is a rehearsal on small models, for a plugin of the CPU, and SLOW=4
# gives every section four times its limit.
set -uo pipefail
out=${1:?say where to write}
part=${2:-1}
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
mkdir -p "$out" && out=$(cd "$out" && pwd)
bin=${BIN:-$here/bin}
python=${PYTHON:-python3}
device=${DEVICE:-cuda} plugin=
case $device in */*) plugin="--plugin $device" ;; esac
slow=${SLOW:-1}
limit=$((470 * slow))
began=$SECONDS
PATH=$bin:$(dirname "$(command -v "$python")"):$PATH
export XDG_CACHE_HOME=$out/cache GIMBAL_DEVICE=$bin/gimbal-device

# section NAME SECONDS COMMAND…: its output is OUT/NAME.json, what it says OUT/NAME.txt; sections.tsv has how it ended.
section() {
  local name=$1 most=$(($2 * slow)) left=$((limit - SECONDS + began)) start=$SECONDS code=0
  shift 2
  if [ "$left" -lt 15 ]; then
    printf '%s\tno time left\t0\n' "$name" >>"$out/sections.tsv"
  else
    [ "$most" -lt "$left" ] || most=$left
    timeout -k 5 "$most" "$@" >"$out/$name.json" 2>"$out/$name.txt" || code=$?
    [ "$code" = 124 ] && code="cut off after $most s"
    printf '%s\t%s\t%s\n' "$name" "$code" "$((SECONDS - start))" >>"$out/sections.tsv"
    echo "$name: $code, $((SECONDS - start)) s"
  fi
  "$python" "$here/report.py" "$out" || true
  [ "$code" = 0 ]
}

ours() { # NAME SECONDS MODEL ROWS CONTEXT and more flags
  local name=$1 most=$2 model=$3 rows=$4 context=$5
  shift 5
  section "$name" "$most" gimbal bench train --json --device "$device" --model "$model" --context "$context" \
    --tokens $((rows * context)) --micro $((rows * context)) --mode "$mode" --steps "$steps" "$@"
}

theirs() { # NAME SECONDS MODEL ROWS CONTEXT
  section "$1" "$2" "$python" "$here/torch_step.py" --model "$3" --rows "$4" --context "$5" --steps "$steps"
}

machine() {
  nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv 2>&1 || true
  "$python" -c 'import importlib.metadata as m
for d in m.distributions():
    if d.name.lower().startswith(("jax", "nvidia", "torch", "triton")): print(d.name, d.version)' || true
  gimbal version | head -1
} >&2

# A training whose guard meets a planted NaN.
planted() {
  gimbal train --data "$out/text" --device "$device" --out "$out/planted" --steps "$trained" \
    --inject nan-grad@$((trained / 2)) "${small[@]}" --json
}

# A run that is never disturbed, and the same one whose process on the device is killed, and one that is killed as a
# whole and resumed. report.py compares their losses.
survive() {
  local name=$1 pid
  shift
  if [ "$name" = whole ]; then
    gimbal train --data "$out/text" --device "$device" --out "$out/$name" --steps "$trained" "${small[@]}" --json
    return
  fi
  gimbal train --data "$out/text" --device "$device" --out "$out/$name" --steps "$trained" "${small[@]}" --json &
  pid=$!
  while kill -0 "$pid" 2>/dev/null && ! grep -qs "\"step\":$((trained * 2 / 3))," "$out/$name/log.jsonl"; do
    sleep 0.05
  done
  if [ "$name" = lost ]; then
    kill -KILL $(cat /proc/"$pid"/task/*/children) # gimbal-device, its only child
    wait "$pid"
  else
    kill -KILL "$pid"
    wait "$pid"
    gimbal resume "$out/$name" --json
  fi
}
export -f machine planted survive
export out root device trained bin python

mode=bf16 steps=20 trained=90 rows=16 context=1024 m124=gpt2-124m m350=gpt2-350m m10=char-10m c10=256 r10=64
small=(--set model.preset=micro --set train.batch_tokens=8192 --set tokenizer.vocab_size=2048 --set checkpoint.every=30
  --set eval.every=30 --set eval.prompts=4 --set eval.samples=2)
if [ -n "${SHORT:-}" ]; then
  mode=fp32 steps=2 trained=12 rows=2 context=64 m124=nano m350=nano m10=nano c10=64 r10=2
  small=(--set model.preset=nano --set train.batch_tokens=512 --set train.context=64 --set tokenizer.vocab_size=512
    --set checkpoint.every=4 --set eval.every=12 --set eval.prompts=2 --set eval.samples=1 --set eval.max_tokens=8)
fi
smallText=$(declare -p small)
export smallText trained
within() { bash -c "$smallText; $1 ${2:-}"; }
export -f within

: >"$out/sections.tsv"
rm -rf "$out/text" && cp -r "$root/docs" "$out/text" # which nobody changes between two runs
section machine 20 bash -c machine
section devices 40 gimbal device --json $plugin
if [ "$part" = 1 ]; then
  ours 124m-ours-1 150 "$m124" "$rows" "$context"
  theirs 124m-torch-1 120 "$m124" "$rows" "$context"
  ours 124m-ours-2 60 "$m124" "$rows" "$context"
  theirs 124m-torch-2 90 "$m124" "$rows" "$context"
  section parity 150 gimbal device check --json --device "$device"
  section planted 90 bash -c 'within planted'
  ours 124m-fast 120 "$m124" "$rows" "$context" --fast # what the flags for the same bits cost
  for kind in plain blocks; do ours "124m-$kind" 60 "$m124" "$rows" "$context" --attention $kind; done
  for n in 4 8; do # times as many rows, until they do not fit
    ours "124m-rows-$((n * rows))" 90 "$m124" $((n * rows)) "$context" || break
  done
else
  ours 350m-ours-1 180 "$m350" "$rows" "$context"
  theirs 350m-torch-1 150 "$m350" "$rows" "$context"
  ours 350m-ours-2 60 "$m350" "$rows" "$context"
  theirs 350m-torch-2 90 "$m350" "$rows" "$context"
  section whole 90 bash -c 'within survive whole'
  section lost 60 bash -c 'within survive lost'
  section resumed 60 bash -c 'within survive resumed'
  ours 10m-ours 60 "$m10" "$r10" "$c10" && theirs 10m-torch 60 "$m10" "$r10" "$c10"
  ours 124m-block 60 "$m124" "$rows" "$context" --checkpointing block
fi
cat "$out/device.md"
