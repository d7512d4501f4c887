package runlog

// Code explains an event code or a preflight check to a person. Texts are Markdown without a full stop.
type Code struct {
	Code     string
	Severity string // "info", "warning" or "error"; "warning, error" where it can be either
	When     string // what was seen
	Does     string // what Gimbal does about it; empty: it reports it, and training does not change
	Advice   string // what to do; empty: nothing
}

// CodePart is a section of docs/events.md: the codes of one kind.
type CodePart struct {
	Title string
	Intro string
	Codes []Code
}

// Codes are all codes that a log can hold. docs/events.md is generated from this table, and a test compares the table
// with the sources: a new code needs a line here.
var Codes = []CodePart{stepCodes, pairCodes, healthCodes, writingCodes, fileCodes, preflightCodes}

// Advice is what to do about an event; empty where nothing is to be done or the code is not known.
func Advice(code string) string {
	for _, part := range Codes {
		for _, c := range part.Codes {
			if c.Code == code {
				return c.Advice
			}
		}
	}
	return ""
}

const (
	lowerRate = "lower `optim.lr`"
	calmRate  = "lengthen the warmup or lower `optim.lr`"
	report    = "report it with `config.toml`"
	goOn      = "read `samples/`; `gimbal resume --steps N` continues"

	refuseData   = "refuses (4)"
	refuseRun    = "refuses (3)"
	refuseConfig = "refuses (2)"
	refuseRoom   = "refuses (6), or reports"
)

var stepCodes = CodePart{
	Title: "Training steps",
	Intro: "Checked at every step, before the update. After E0 and E1 the rate grows back after 20 calm steps.",
	Codes: []Code{
		{"E0-NONFINITE", "error", "loss, gradient norm or update is NaN or infinite",
			"skips the update, halves the rate, names tensor and documents",
			"read the named documents; if they are fine and it recurs, " + lowerRate},
		{"E1-OUTLIER", "error", "loss, gradient norm or update size is far outside the last accepted steps",
			"skips the update, halves the rate, leaves the sequences out if they may be the cause",
			"nothing for one; if it recurs, read the named documents or lengthen the warmup"},
		{"E2-SUSTAINED", "error", "several outliers, or the loss stays up",
			"returns to a healthy checkpoint, skips this data, halves the rate until I-REGAIN",
			"nothing for one; if it recurs, " + lowerRate},
		{"E3-DIVERGED", "error",
			"the loss does not recover, a third E2 in 1,000 steps, or a rate below 1/16 of the schedule's",
			"stops (3), writes `post-mortem.md`", lowerRate + " or repair the data, and start again with `--from`"},
		{"E3-RATE", "error", "the schedule's rate is outside (0, peak]", "stops (3)", report},
		{"I-REGAIN", "info", "no error in 1,000 steps for each rewind so far",
			"doubles the rate over 100 steps", ""},
		{"I-NUDGE", "info", "early on, the loss falls slowly and calmly",
			"raises the rate by a tenth, at most three times",
			""},
		{"W-PEAK-LOW", "warning", "the third nudge", "", "start again with `optim.lr = \"probe\"`"},
		{"W-CLIP-REGIME", "warning", "over half of 200 updates were clipped, after the warmup and the first 200 steps", "",
			"nothing if the loss falls well; else raise `optim.clip`"},
		{"W-UPDATE-RATIO", "warning", "an update moves the median matrix by over 0.05 of its size, with Muon 0.1", "",
			calmRate},
		{"W-NO-LABELS", "warning", "no label of the batch counts: its answers are in other sequences",
			"takes the next batch", "raise `train.batch_tokens`"},
		{"W-RESTART-NOT-REGAINED", "warning", "a cycle ends with a higher validation loss than the one before it", "",
			"set `schedule.kind` to `cosine` or `linear`"},
	},
}

var pairCodes = CodePart{
	Title: "Preferences",
	Intro: "With `train.objective = \"dpo\"`.",
	Codes: []Code{
		{"W-PAIRS-EASY", "warning", "the model prefers the right answer in all of the first new pairs", "",
			"read `gimbal data inspect`: a mark or a length may give the answer away"},
		{"W-CHOSEN-FALLS", "warning", "preferred answers lose over 0.1 nats per token, and the others more", "",
			"lower `optim.lr`, raise `dpo.beta`"},
		{"W-LENGTH-GROWS", "warning", "texts are over 1.5 times as long as before step 1", "",
			"take pairs of like length, or raise `dpo.beta`"},
	},
}

var healthCodes = CodePart{
	Title: "Health of the model",
	Intro: "Checked at step 1 and every 100 steps; activations also every 10 of the first 50. Most name a block.",
	Codes: []Code{
		{"A1-ZERO-GRAD", "warning, error",
			"a gradient is exactly zero at three checks in a row (error), or a matrix's at step 1 (warning)", "",
			"look at what is between that block and the loss; with `--from`, look for weights of zero"},
		{"A2-BOTTOM-STARVED", "warning, error",
			"mean gradient of the bottom third of the blocks is below 0.1 (error: 0.01) of the top third's at two " +
				"checks in a row after the warmup; or the weakest bottom block's below 0.1 of the median block's at " +
				"step 1", "",
			"at step 1 check the block's initial weights; later the residual paths and norms above it"},
		{"A3-EXPLODING", "warning", "mean gradient of the bottom third is over 100 times the top third's", "",
			"check norms and the scale of residual branches"},
		{"A4-FALLING", "warning", "a block's gradient is ten times below its median of the last 20 checks; if all " +
			"blocks fell, only when the loss did not halve", "",
			"check dead units and attention entropy of that block"},
		{"A5-NONFINITE", "error", "gradient elements are NaN or infinite", "",
			"see E0-NONFINITE, which refuses the step"},
		{"W-FROZEN-WEIGHTS", "warning", "at five checks in a row an update leaves more than 1 % of a matrix " +
			"unchanged and moves it by less than 1/100 of √(2·lr·weight decay)", "",
			"compare the size of its weights with the rate"},
		{"W-RESIDUAL-GROWTH", "warning", "the stream after the last block grows tenfold in ten steps, to above 1; or " +
			"one block makes it ten times as large", "", calmRate + "; for one block, check its output projections"},
		{"W-RESIDUAL-CUT", "error", "a block's output keeps less than half of its input (sound: about 1)", "",
			"look for f(x) where x + f(x) should be"},
		{"W-ATTN-ENTROPY", "warning", "in the first 1,000 steps, mean attention entropy is below 0.2 of the maximum; " +
			"or a quarter of the heads are below 0.05 and falling", "", calmRate},
		{"W-ATTN-LOGIT", "warning, error", "an attention score is above 300 (error: 10,000)", "",
			lowerRate + ", or take a shape with QK-norm"},
		{"W-DEAD-UNITS", "warning, error",
			"over 30 % (error: 60 %) of a block's MLP units are silent over at least 128 tokens", "", calmRate},
		{"W-LOGIT-DRIFT", "warning",
			"mean ln Z of the logits is beyond ±20, or rises five times in a row by over 5 in all",
			"", lowerRate},
		{"I-START-HEALTH", "info",
			"weights from elsewhere were beyond such limits when they came; told again only if they get worse", "", ""},
	},
}

var writingCodes = CodePart{
	Title: "What the model writes",
	Intro: "Checked at every evaluation; [judge.md](judge.md) has the rules. A stop restores the chosen checkpoint\n" +
		"and exits with code 0.",
	Codes: []Code{
		{"J-STOP", "warning", "repetition and prompt consistency are both worse, twice in a row", "stops", goOn},
		{"J-PATIENCE", "warning", "no lower validation loss for `judge.patience` evaluations", "stops", goOn},
		{"W-REPETITION", "warning", "repetition alone is worse, twice in a row", "", "read `samples/`"},
		{"W-CONSISTENCY", "warning", "prompt consistency alone is worse, twice in a row", "", "read `samples/`"},
		{"W-ILLUSION", "warning", "the loss falls while the writing gets worse, or the validation text proves little",
			"",
			"do not judge this model by its loss"},
	},
}

var fileCodes = CodePart{
	Title: "Files and devices",
	Codes: []Code{
		{"F-SAVE-FAILED", "error", "a checkpoint could not be written; earlier ones are intact",
			"goes on; the third failure in a row, or of the last save, ends the run",
			"free disk space, check the disk"},
		{"F-SLOW-DISK", "warning", "a save took over 2 s and was slower than 10 MiB/s", "",
			"use another disk, or raise `checkpoint.every`"},
		{"F-MIRROR-FAILED", "warning", "the second copy of the run could not be updated",
			"tries again", "check the endpoint and the credentials in the environment"},
		{"F-MIRROR-BACK", "info", "the second copy is whole again", "", ""},
		{"F-CHECKPOINT-REFUSED", "error", "a newer checkpoint does not verify",
			"resumes from the newest that does; never starts over", "check the disk"},
		{"F-LOG-ALTERED", "warning", "lines of the log behind the newest checkpoint were altered",
			"goes on from the checkpoint", "do not edit a log; check the disk"},
		{"F-OUTPUT-LOST", "warning", "the output could not be written: a pipe was closed, or a terminal is gone",
			"goes on", "nothing; the log has everything"},
		{"F-DEVICE-LOST", "error", "an accelerator, or the process that owns it, does not answer",
			"goes on from a healthy checkpoint in a new process; the fourth in 1,000 steps ends the run (6)",
			"if it recurs, run `gimbal device check`"},
		{"F-CACHE-PLACE", "warning", "no folder for token caches can be written",
			"takes the run's directory, or a temporary one", "let `XDG_CACHE_HOME` name a folder with room"},
		{"F-CACHE-DAMAGED", "warning", "cached tokens do not match their manifest", "makes them again",
			"check the disk"},
	},
}

var preflightCodes = CodePart{
	Title: "Checks before step 1",
	Intro: "Made by `train`, `resume` and `doctor`. A refusal ends the run before its first step; a warning is an " +
		"event.",
	Codes: []Code{
		{"P-KERNEL", "warning, error", "a multiply differs from plain Go; warning: another kernel tier than asked for",
			refuseRun, "choose a tier with `GIMBAL_KERNEL`; the CPU or a kernel computes wrongly"},
		{"P-LEAK", "error", "a position's output depends on later tokens, or on no token", refuseRun, report},
		{"P-LEAK-GRADIENT", "error", "a gradient changes with later tokens", refuseRun, report},
		{"P-INVARIANCE", "error", "a sequence's loss depends on its neighbours, or gradients on how a batch is cut",
			refuseRun, report},
		{"P-START-LOSS", "warning, error",
			"the loss of fresh weights is not ln(vocabulary)", refuseRun + ", or reports",
			report},
		{"P-LABELS", "error", "a label is not the next token, or none counts", refuseData,
			"check which parts are marked as not trained on"},
		{"P-EOS", "error", "documents do not end in EOS, or EOS is inside one", refuseData,
			"split text with `data.separator`; search it for the EOS token"},
		{"P-OVERLAP", "warning", "over a tenth of the held-out text is also in the training text", "",
			"remove repeated text"},
		{"P-DUPLICATES", "warning", "over 5 % of documents are copies, or a held-out one is also in training", "",
			"remove copies"},
		{"P-DATA", "warning", "something was left out or is strange; a line for each", "",
			"read the line"},
		{"P-SAMPLER", "error", "a sequence comes twice in an epoch, or a batch is empty", refuseRun, report},
		{"P-LR-TRACE", "error", "a planned rate is outside (0, peak], or the last is not the floor", refuseConfig,
			report},
		{"W-WARMUP-SHARE", "warning", "the warmup takes over a quarter of the run", "",
			"train longer, or set `schedule.warmup_exact = false`"},
		{"P-WARMUP-SHORT", "warning", "there is no warmup", "", "leave `schedule.warmup` at its default"},
		{"P-RESTART-LATE", "warning, error", "the last restart leaves too few steps to recover",
			refuseConfig + "; reports with `schedule.late_restart`", "change `schedule.period` or `train.steps`"},
		{"P-MEMORY", "warning, error", "the plan needs more memory than is free (error) or 80 % of it", refuseRoom,
			"lower `train.micro_tokens`, `train.context` or the model's size"},
		{"P-DISK", "warning, error",
			"the disk has no room for one checkpoint (error) or for all it will keep", refuseRoom,
			"free space, lower `checkpoint.keep`, or change `--out`"},
	},
}
