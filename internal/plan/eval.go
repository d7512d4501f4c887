package plan

import (
	"fmt"

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
	origin := fmt.Sprintf("planned: writing takes about %.0f %% of the time", 100*writeShare)
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
	samples := samplesFor(cfg, context)
	p.Writing = Writing{Evaluations: evaluations, Samples: samples,
		Share: cost * float64(samples.Tokens()) * evaluations / training}
	p.Writing.SampleSize = max(minEvalTokens, int64((evalShare-writeShare)*forwardShare*training/evaluations))
	p.Memory.Writing = p.writingBytes(d)
	return nil
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
