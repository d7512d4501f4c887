package plan

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"gimbal/internal/config"
	"gimbal/internal/engine"
	"gimbal/internal/judge"
)

const (
	// DefaultEvals is the evaluations of a run where nothing else was asked for.
	DefaultEvals = 10

	evalShare     = 0.03    // of the training time, which all evaluations together may take
	writeShare    = 0.02    // of it, which all writing may take; the scored losses take the rest
	forwardShare  = 3       // a forward pass costs a third of a training pass
	minEvalTokens = 8192    // of one evaluation, where the validation part has them
	maxEvalTokens = 2 << 20 // of the last one

	// A token that is written costs about one of training, and measuring it as much as training one on measureCost
	// weights does: it does not get cheaper with the model. Measured in bench/judge.
	writeCost   = 1.0
	measureCost = 400_000

	// A run of longRun seconds writes all the texts that were asked for at the end of an epoch and of the run: 100 by
	// default, as docs/article.md has it. Its seconds are counted at planSpeed operations and not by a clock, so that the
	// plan is the same on every machine; two cores make about that.
	longRun   = 600
	planSpeed = 100e9
	wholeText = 64 // tokens at least, so that texts of 32 and more are measured
)

// evalEvery is the steps between evaluations.
func evalEvery(c *config.Config) int64 {
	if c.Eval.Every > 0 {
		return c.Eval.Every
	}
	return max(1, c.Train.Steps/DefaultEvals)
}

// chooseWriting fits what an evaluation scores and writes into its share of the training time. What somebody asked for
// stays; what is only the default is thinned, by numbers that a resumed run has too.
func (p *Plan) chooseWriting(d *Draft) error {
	cfg, context := p.Config, p.Spec.Arch.Context
	asked := samplesFor(cfg, context)
	evaluations := max(1, float64(cfg.Train.Steps)/float64(evalEvery(cfg)))
	training := float64(cfg.Train.Steps) * float64(cfg.Train.BatchTokens)
	cost := writeCost + measureCost/float64(p.Multiplied)
	thin := asked.Thin(int64(writeShare / cost * training / evaluations))
	origin := fmt.Sprintf("planned: writing takes about %.0f %% of the time; from ten minutes on, a run writes %d texts "+
		"at the end", 100*writeShare, asked.Texts())
	var usual judge.Plan
	if 6*training*float64(p.Multiplied)/planSpeed >= longRun && thin.Texts() < asked.Texts() && !choseWriting(cfg) {
		tokens := max(thin.MaxTokens, min(wholeText, asked.MaxTokens))
		usual = judge.PlanFor(thin.Prompts, thin.Samples, tokens, context-1)
		thin = judge.PlanFor(asked.Prompts, asked.Samples, tokens, context-1)
	}
	for _, k := range []struct {
		key          string
		asked, thins int
	}{
		{"eval.prompts", cfg.Eval.Prompts, thin.Prompts}, {"eval.samples", cfg.Eval.Samples, thin.Samples},
		{"eval.max_tokens", min(cfg.Eval.MaxTokens, asked.MaxTokens), thin.MaxTokens},
	} {
		if cfg.Origin(k.key) != "default" || k.thins == k.asked || k.thins == 0 { // 0: no room for a prompt
			continue
		}
		if err := cfg.SetPlanned(k.key, k.thins, origin); err != nil {
			return err
		}
	}
	p.Writing = Writing{Evaluations: evaluations, Samples: samplesFor(cfg, context), Usual: usual}
	tokens := float64(p.Writing.Samples.Tokens()) * evaluations
	if usual != (judge.Plan{}) {
		ends := 1.0 // epochs and the run
		if epochs := training / float64(d.Text.Train.Tokens()); epochs <= DefaultEvals {
			ends = max(1, math.Ceil(epochs))
		}
		tokens = float64(p.Writing.Samples.Tokens())*ends + float64(usual.Tokens())*max(0, evaluations-1)
	}
	p.Writing.Share = cost * tokens / training
	p.Writing.SampleSize = max(minEvalTokens, int64((evalShare-writeShare)*forwardShare*training/evaluations))
	p.Memory.Writing = p.writingBytes(d)
	return nil
}

// choseWriting reports whether a person said what an evaluation writes.
func choseWriting(c *config.Config) bool {
	return slices.ContainsFunc([]string{"eval.prompts", "eval.samples", "eval.max_tokens"}, func(key string) bool {
		return c.Origin(key) != "default" && !strings.HasPrefix(c.Origin(key), "planned: ")
	})
}

// writingBytes is the memory of an evaluation, as far as the configuration says yet.
func (p *Plan) writingBytes(d *Draft) int64 {
	a := p.Spec.Arch
	s := samplesFor(p.Config, a.Context)
	length := min(a.Context, 1+s.PromptTokens+s.MaxTokens)
	if d.Text.Set.Census().Conversations > 0 {
		length = a.Context // prompts are whole turns
	}
	_, decoder := engine.DecoderRows(a, s.Prompts*s.Samples, length)
	return decoder + judge.Bytes(d.Text.Train.Tokens())
}
