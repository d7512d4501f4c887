package gimbal

import (
	"encoding/json"

	"gimbal/internal/evaluate"
	"gimbal/internal/preflight"
	"gimbal/internal/runlog"
	"gimbal/internal/train"
)

// Result is how a training ended. Its JSON, like that of the other results, is what the command prints with --json.
type Result struct {
	Dir string `json:"dir"` // of the run
	// Reason is why it ended: "done", "stopped early" (its texts became worse), "already done" (nothing was left to
	// do), "interrupted", "stopped: CODE" (by the guard, for that event) or "failed: …" (with the error).
	Reason      string   `json:"reason"`
	Step        int64    `json:"step"`              // updates made
	Tokens      int64    `json:"tokens"`            // learned
	Parameters  int64    `json:"parameters"`        // of the model
	ValLoss     float64  `json:"val_loss"`          // on the text held out, nats per token; 0: it was not evaluated
	BitsPerByte float64  `json:"bits_per_byte"`     // the same on a scale that does not depend on the tokenizer
	ValTokens   int64    `json:"val_tokens"`        // behind ValLoss; 0: it was not evaluated
	Baseline    Baseline `json:"baseline"`          // to compare ValLoss with
	Expected    Range    `json:"expected"`          // what ValLoss was expected to be; zero: nothing was expected
	Tuned       *Tuned   `json:"tuned,omitempty"`   // what became of weights from elsewhere; nil: they were fresh
	Checkpoint  string   `json:"checkpoint"`        // path of the last one
	Stable      string   `json:"stable,omitempty"`  // path of the one that was chosen, which Open takes; empty: none was
	Events      int      `json:"events"`            // of all attempts, as far as they count
	Refused     int      `json:"refused"`           // updates that were not made, likewise
	Samples     []Sample `json:"samples,omitempty"` // of the last evaluation, not chosen by quality

	EventCodes map[string]int `json:"event_codes,omitempty"` // how many Events of each code there were

	StableReason string `json:"-"` // why Stable was chosen, in a sentence
}

// Tuned is what training made of weights that came from elsewhere: losses in nats per token before step 1 and of the
// checkpoint that was chosen. Where that is the start, since nothing was better, they are those at the end.
type Tuned struct {
	Before float64 `json:"before"` // on text held out of what was trained on
	After  float64 `json:"after"`  // on the same tokens
	// Standard error of how much lower After is, each held-out text compared with itself; 0: unknown.
	ChangeError float64 `json:"change_se,omitempty"`
	Tokens      int64   `json:"tokens"`               // of that text
	OldBefore   float64 `json:"old_before,omitempty"` // on text that the weights knew; 0: none was measured
	OldAfter    float64 `json:"old_after,omitempty"`  // on the same tokens: what is higher was forgotten

	// Of preferences: pairs held out, on which Before and After are nats per pair; 0: there were no
	// preferences.
	Pairs          int64   `json:"pairs,omitempty"`
	AccuracyBefore float64 `json:"accuracy_before,omitempty"` // share with the right answer preferred; a tie counts half
	AccuracyAfter  float64 `json:"accuracy_after,omitempty"`  // the same of the checkpoint that was chosen
}

// Baseline is the loss of n-gram models that counted the training part, on the text that a model is measured on. Losses
// are nats per token; bits per byte are the same on a scale that does not depend on the tokenizer.
type Baseline struct {
	Order              int     `json:"order"`                   // longest n-gram of the model that is best
	Loss               float64 `json:"loss"`                    // of that model
	BitsPerByte        float64 `json:"bits_per_byte"`           // of that model
	UnigramLoss        float64 `json:"unigram_loss"`            // of the frequencies of tokens alone
	UnigramBitsPerByte float64 `json:"unigram_bits_per_byte"`   // of the frequencies of tokens alone
	TrainTokens        int64   `json:"train_tokens"`            // counted
	Tokens             int64   `json:"tokens"`                  // scored
	SampleLoss         float64 `json:"sample_loss,omitempty"`   // on the sample that every evaluation scores; 0: unknown
	SampleTokens       int64   `json:"sample_tokens,omitempty"` // of that sample
}

// MarshalJSON implements json.Marshaler. Numbers that JSON does not have are strings, as in Numbers.
func (b Baseline) MarshalJSON() ([]byte, error) {
	return json.Marshal(runlog.Baseline{Order: b.Order, Loss: runlog.Float(b.Loss), Bits: runlog.Float(b.BitsPerByte),
		Unigram: runlog.Float(b.UnigramLoss), UnigramBits: runlog.Float(b.UnigramBitsPerByte),
		TrainTokens: b.TrainTokens, Tokens: b.Tokens, Sample: runlog.Float(b.SampleLoss), SampleTokens: b.SampleTokens})
}

// Sample is a text that the model wrote at an evaluation.
type Sample struct {
	Prompt  string   `json:"Prompt"`            // empty when the model began by itself
	Text    string   `json:"Text"`              // what it wrote after the prompt
	Finish  Finish   `json:"Finish"`            // why the text ends
	Reasons []string `json:"Reasons,omitempty"` // what is wrong with it, a sentence each; empty also where nobody asked
}

// Numbers are numbers by their name. In JSON those that are not finite are the strings "NaN", "+Inf" and "-Inf".
type Numbers map[string]float64

// MarshalJSON implements json.Marshaler.
func (n Numbers) MarshalJSON() ([]byte, error) {
	floats := make(map[string]runlog.Float, len(n))
	for name, v := range n {
		floats[name] = runlog.Float(v)
	}
	return json.Marshal(floats)
}

// Diagnosis is what the checks before the first step came to.
type Diagnosis struct {
	Checks  []CheckResult `json:"checks"`  // all that were made, also those that found nothing
	Seconds float64       `json:"seconds"` // that they took
	Plan    *Plan         `json:"-"`       // of the run; nil where it is told by itself
	text    string
}

// String counts the checks by their results, in a line.
func (d *Diagnosis) String() string { return d.text }

// CheckResult is what one check came to.
type CheckResult struct {
	Code    string  `json:"code"`              // such as "P-LEAK"; docs/events.md says what each checks
	Result  string  `json:"result"`            // "ok", "info", "warning", "error" (the run is refused) or "skipped"
	Message string  `json:"message"`           // what was seen, or why it was skipped
	Advice  string  `json:"advice,omitempty"`  // what to do; empty: nothing
	Numbers Numbers `json:"numbers,omitempty"` // that the message is made of, by name
}

func result(r *train.Result) *Result {
	if r == nil {
		return nil
	}
	return &Result{Dir: r.Dir, Reason: r.Reason, Step: r.Step, Tokens: r.Tokens, Parameters: r.Params, ValLoss: r.ValLoss,
		BitsPerByte: r.BitsPerByte, ValTokens: r.ValTokens, Baseline: baseline(r.Baseline), Checkpoint: r.Checkpoint,
		Stable: r.Stable, Events: r.Events, Refused: r.Refused, EventCodes: r.Codes, Samples: samples(r.Samples),
		StableReason: r.StableReason, Expected: Range(r.Expected), Tuned: (*Tuned)(r.Tuned)}
}

func baseline(b runlog.Baseline) Baseline {
	return Baseline{Order: b.Order, Loss: float64(b.Loss), BitsPerByte: float64(b.Bits), UnigramLoss: float64(b.Unigram),
		UnigramBitsPerByte: float64(b.UnigramBits), TrainTokens: b.TrainTokens, Tokens: b.Tokens,
		SampleLoss: float64(b.Sample), SampleTokens: b.SampleTokens}
}

func samples(list []evaluate.Sample) (public []Sample) {
	for _, s := range list {
		public = append(public, Sample{s.Prompt, s.Text, Finish(s.Finish), s.Reasons})
	}
	return public
}

func numbers(floats map[string]runlog.Float) Numbers {
	if floats == nil {
		return nil
	}
	n := make(Numbers, len(floats))
	for name, v := range floats {
		n[name] = float64(v)
	}
	return n
}

func diagnosis(d *train.Diagnosis) *Diagnosis {
	if d == nil {
		return nil
	}
	public := publicChecks(d.Preflight)
	public.Plan = publicPlan(d.Plan, "")
	return public
}

func publicChecks(r *runlog.Preflight) *Diagnosis {
	return &Diagnosis{Checks: checkResults(r.Checks), Seconds: float64(r.Seconds), text: preflight.Summary(r)}
}

func checkResults(list []runlog.Check) (public []CheckResult) {
	for _, c := range list {
		public = append(public, CheckResult{c.Code, c.Result, c.Message, c.Advice, numbers(c.Numbers)})
	}
	return public
}
