package train

import (
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"strings"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/durable"
	"gimbal/internal/generate"
	"gimbal/internal/judge"
	"gimbal/internal/model"
	"gimbal/internal/runlog"
	"gimbal/internal/tokenizer"
)

const (
	writeShare = 0.02 // of the training time, which all writing together may take; the scored losses take the rest of evalShare

	// A token that is written costs about one of training, and measuring it as much as training one on measureCost weights does:
	// it does not get cheaper with the model. Measured in bench/judge.
	writeCost   = 1.0
	measureCost = 400_000

	writeRows  = 128 // most texts that are written at once
	fewRows    = 16  // and fewest, whatever the memory
	writeBytes = 256 << 20
	readAtOnce = 1024 // tokens of prompts
	shownTexts = 3    // of an evaluation, on the terminal and in the result
)

// writer lets a model continue prompts.
type writer struct {
	tok    *tokenizer.Tokenizer
	start  int32
	author *generate.Generator
	plan   judge.Plan
}

// newWriter returns a writer with a decoder, whose rows it fills.
func newWriter(arch config.Arch, d *model.Decoder[float32], tok *tokenizer.Tokenizer, start int32, p judge.Plan) *writer {
	return &writer{tok: tok, start: start, plan: p, author: generate.New(model.NewWriter(d, rowsFor(arch, p), cacheLength(arch, p)))}
}

// rowsFor is how many texts are written at once: all of them, where the memory of their keys and values is small.
func rowsFor(a config.Arch, p judge.Plan) int {
	rows := max(1, min(writeRows, p.Prompts*p.Samples))
	for rows > fewRows && model.CacheBytes(a, rows, cacheLength(a, p)) > writeBytes {
		rows = max(fewRows, rows/2)
	}
	return rows
}

// cacheLength is the positions of a text: the start token, the prompt, and what is written.
func cacheLength(a config.Arch, p judge.Plan) int {
	return min(a.Context, 1+p.PromptTokens+p.MaxTokens)
}

// write continues every prompt of j, sample by sample, always with the same random streams.
func (w *writer) write(ctx context.Context, j *judge.Judge, seed uint64) ([]judge.Text, []generate.Sample, error) {
	prompts, n := j.Prompts(), j.Plan().Samples
	var requests []generate.Request
	var texts []judge.Text
	for k := range n {
		for p, ids := range prompts {
			requests = append(requests, generate.Request{Prompt: append([]int32{w.start}, ids...), Index: uint64(p)<<32 | uint64(k)})
			texts = append(texts, judge.Text{Prompt: p})
		}
	}
	samples, err := w.author.Generate(ctx, requests, generate.Options{
		TopK: judge.TopK, Temperature: judge.Temperature, MaxTokens: w.plan.MaxTokens, Seed: seed, EOS: w.tok.EOS()})
	if err != nil {
		return nil, nil, err
	}
	for i, s := range samples {
		texts[i].Tokens, texts[i].Ended = s.Tokens, s.Finish == generate.FinishEOS
	}
	return texts, samples, nil
}

// written are the texts as a person reads them.
func (w *writer) written(j *judge.Judge, samples []generate.Sample, r *judge.Report) []judge.Written {
	prompts := j.Prompts()
	out := make([]judge.Written, len(samples))
	for i, s := range samples {
		out[i] = judge.Written{Prompt: string(w.tok.Decode(nil, prompts[i%len(prompts)])), Text: string(w.tok.Decode(nil, s.Tokens)),
			Finish: string(s.Finish), Reading: r.Readings[i]}
	}
	return out
}

// held is a split as the judge reads it.
type held struct{ *data.Split }

func (h held) Len(k int) int64 { _, n := h.Document(k); return n }
func (h held) Append(dst []int32, k int, lo, hi int64) []int32 {
	return h.AppendText(dst, k, lo, hi)
}

// judgeOf makes the judge of a corpus: prompts and people's texts from val, what is known from train. own says that
// train is what the model learned from.
func judgeOf(cfg *config.Config, c *corpus, p judge.Plan, own bool) (*judge.Judge, error) {
	opt := judge.Options{
		Held: held{c.val}, Plan: p, Seed: cfg.Train.Seed, Vocab: c.tok.VocabSize(), Own: own,
		Known: judge.Known{Tokens: c.train.Tokens(), Labels: func() iter.Seq[[]int32] { return c.train.Labels() }, Spell: c.tok.Decode},
		Chars: c.tok.Kind() != tokenizer.KindBPE, Go: isGo(c.set.Sources),
	}
	if path := cfg.Judge.Encoder; path != "" {
		e, err := judge.OpenEncoder(path)
		if err != nil {
			return nil, &config.Error{Faults: []config.Fault{{Where: cfg.Origin("judge.encoder"), Key: "judge.encoder", Text: err.Error()}}}
		}
		opt.Encoder = e
	}
	return judge.New(opt), nil
}

// isGo reports whether all sources are Go.
func isGo(sources []string) bool {
	for _, s := range sources {
		if filepath.Ext(s) != ".go" {
			return false
		}
	}
	return len(sources) > 0
}

// planWriting fits what an evaluation writes into its share of the training time. What somebody asked for stays; what
// is only the default is thinned, by numbers that a resumed run has too.
func (t *trainer) planWriting() error {
	cfg := t.cfg
	asked := judge.PlanFor(cfg.Eval.Prompts, cfg.Eval.Samples, cfg.Eval.MaxTokens, t.arch.Context-1)
	evaluations := max(1, float64(cfg.Train.Steps)/float64(t.evalEvery()))
	training := float64(cfg.Train.Steps) * float64(cfg.Train.BatchTokens)
	_, weights := t.arch.Params()
	cost := writeCost + measureCost/float64(weights)
	thin := asked.Thin(int64(writeShare / cost * training / evaluations))
	origin := fmt.Sprintf("planned: writing takes about %.0f %% of the time", 100*writeShare)
	for _, k := range []struct {
		key          string
		asked, thins int
	}{{"eval.prompts", cfg.Eval.Prompts, thin.Prompts}, {"eval.samples", cfg.Eval.Samples, thin.Samples}, {"eval.max_tokens", min(cfg.Eval.MaxTokens, asked.MaxTokens), thin.MaxTokens}} {
		if cfg.Origin(k.key) != "default" || k.thins == k.asked || k.thins == 0 { // 0: the context has no room for a prompt
			continue
		}
		if err := cfg.SetPlanned(k.key, k.thins, origin); err != nil {
			return err
		}
	}
	p := judge.PlanFor(cfg.Eval.Prompts, cfg.Eval.Samples, cfg.Eval.MaxTokens, t.arch.Context-1)
	t.plan.Evaluations, t.plan.Samples = evaluations, p
	t.plan.WriteShare = cost * float64(p.Tokens()) * evaluations / training
	t.plan.Writing = t.writingBytes()
	return nil
}

// writingBytes is the memory of an evaluation, as far as the configuration says yet.
func (t *trainer) writingBytes() int64 {
	p := judge.PlanFor(t.cfg.Eval.Prompts, t.cfg.Eval.Samples, t.cfg.Eval.MaxTokens, t.arch.Context-1)
	return model.CacheBytes(t.arch, rowsFor(t.arch, p), cacheLength(t.arch, p)) + judge.Bytes(t.corpus.train.Tokens())
}

// review lets the model write, measures it, saves the page for people, and remembers the evaluation. It returns the
// numbers for the log and a few texts, not chosen by quality, to show.
func (t *trainer) review(loss float64) (map[string]runlog.Float, []SampleText, error) {
	r, samples, err := t.compose()
	if err != nil {
		return nil, nil, err
	}
	if samples == nil {
		t.state.History = append(t.state.History, judge.NewPoint(t.state.Step, loss, t.disturbed(), true, r))
		return nil, nil, nil
	}
	t.report = r
	written := t.writer.written(t.judge, samples, r)
	name := filepath.Join(t.dir, samplesName, pageName(t.state.Evals))
	if err := durable.WriteFile(t.fs, name, judge.Page(t.state.Evals, t.state.Step, pageHead(r), written, r.WorstFirst())); err != nil {
		return nil, nil, err
	}
	t.state.History = append(t.state.History, judge.NewPoint(t.state.Step, loss, t.disturbed(), t.judge.FewDocuments(), r))
	shown := make([]SampleText, 0, shownTexts)
	for _, w := range written[:min(shownTexts, len(written))] {
		shown = append(shown, SampleText{Prompt: w.Prompt, Text: w.Text, Finish: w.Finish})
	}
	return flat(r), shown, nil
}

// compose lets the model as it is write, and measures that. Where there is no prompt it writes nothing: no samples and
// an empty report.
func (t *trainer) compose() (*judge.Report, []generate.Sample, error) {
	if t.judge == nil {
		var err error
		if t.judge, err = judgeOf(t.cfg, t.corpus, t.plan.Samples, true); err != nil {
			return nil, nil, err
		}
		for _, note := range t.judge.Notes() {
			t.hooks.note("judge: %s", note)
		}
		p := t.judge.Plan()
		if len(t.judge.Prompts()) == 0 {
			t.hooks.note("judge: the held-out text, or the context of %d, is too short for a single prompt: nothing will be written", t.arch.Context)
			return t.compose()
		}
		d, err := t.model.Decoder(model.DecoderOptions{Tokens: readAtOnce, Rows: rowsFor(t.arch, p)})
		if err != nil {
			return nil, nil, err
		}
		t.decoder, t.writer = d, newWriter(t.arch, d, t.corpus.tok, t.startToken(), p)
	}
	if len(t.judge.Prompts()) == 0 {
		return &judge.Report{}, nil, nil
	}
	t.decoder.Refresh()
	texts, samples, err := t.writer.write(context.Background(), t.judge, t.cfg.Train.Seed)
	if err != nil {
		return nil, nil, err
	}
	return t.judge.Measure(texts), samples, nil
}

// disturbed reports whether the guard confirmed an instability since the evaluation before.
func (t *trainer) disturbed() bool {
	before := int64(0)
	if n := len(t.state.History); n > 0 {
		before = t.state.History[n-1].Step
	}
	if t.state.Trouble.Step <= before {
		return false
	}
	for _, code := range t.state.Trouble.Codes {
		if strings.HasPrefix(code, "E2") || strings.HasPrefix(code, "E3") {
			return true
		}
	}
	return false
}

func pageName(n int) string { return fmt.Sprintf("eval-%d.md", n) }

// pageHead is what stands above the texts of a page.
func pageHead(r *judge.Report) (lines []string) {
	lines = append(lines, fmt.Sprintf("%d texts, %d long enough to be measured", r.Texts, r.Counted))
	for _, a := range r.Alarms {
		lines = append(lines, a.Text)
	}
	if len(r.Alarms) == 0 {
		lines = append(lines, "no metric differs from people's texts by more than chance")
	}
	return lines
}

// flat is a report as keys of the log.
func flat(r *judge.Report) map[string]runlog.Float {
	m := map[string]runlog.Float{"texts": runlog.Float(r.Texts), "texts_counted": runlog.Float(r.Counted), "alarms": runlog.Float(len(r.Alarms))}
	for name, v := range r.Metrics {
		m[name], m[name+"_lo"], m[name+"_hi"] = runlog.Float(v.Value), runlog.Float(v.Lo), runlog.Float(v.Hi)
		if v.Compared {
			m[name+"_human"], m[name+"_human_se"] = runlog.Float(v.Human), runlog.Float(v.HumanSE)
		}
	}
	return m
}

// decide applies the rules of the judge to the history: an alarm becomes an event, a stop ends the run after the save
// to come.
func (t *trainer) decide() error {
	if w := judge.Illusion(t.state.History, t.report); len(w) > 0 && !t.state.Illusion {
		t.state.Illusion = true
		if err := t.event(runlog.Event{At: t.at(), Code: judge.CodeIllusion, Severity: "warning", Action: "none", Message: strings.Join(w, "; ")}); err != nil {
			return err
		}
	}
	v := judge.Stop(t.state.History, judge.StopOptions{Rule: t.cfg.Judge.EarlyStop, Warmup: t.sched.Warmup, Patience: t.cfg.Judge.Patience})
	if v.Code == "" {
		return nil
	}
	e := runlog.Event{At: t.at(), Code: v.Code, Severity: "warning", Action: "none", Message: v.Reason}
	if v.Stop {
		t.state.Stopped = fmt.Sprintf("%s: %s", v.Code, v.Reason)
		e.Action = "stop; the checkpoint that was chosen is restored"
	}
	return t.event(e)
}

// choose picks the checkpoint to keep among those that are there.
func (t *trainer) choose() (judge.Choice, error) {
	infos, err := checkpoint.List(t.fs, filepath.Join(t.dir, checkpointsName))
	if err != nil {
		return judge.Choice{}, err
	}
	there := map[int64]bool{}
	for _, info := range infos {
		there[info.Step] = there[info.Step] || info.Err == nil
	}
	return judge.Choose(t.state.History, func(step int64) bool { return there[step] }, t.cfg.Judge.Select), nil
}

// stopEarly ends a run that the judge stopped: the chosen weights are restored and scored on the whole validation part.
func (t *trainer) stopEarly() (*runlog.Eval, error) {
	c, err := t.choose()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(t.dir, checkpointsName, checkpoint.StepName(c.Step))
	ck, err := checkpoint.Open(t.fs, path)
	if err != nil {
		return nil, err
	}
	defer ck.Close()
	if err := model.LoadEntries(t.model.Params(), ck.Model()); err != nil {
		return nil, err
	}
	t.model.Refresh()
	t.hooks.note("stopped early: %s; restored %s", t.state.Stopped, c.Reason)
	rec := t.scored(c.Step, true)
	return &rec, nil
}
