package plan

import "gimbal/internal/config"

// defaultEvals is the evaluations of a run where nothing else was asked for.
const defaultEvals = 10

// evalEvery is the steps between evaluations.
func evalEvery(c *config.Config) int64 {
	if c.Eval.Every > 0 {
		return c.Eval.Every
	}
	return max(1, c.Train.Steps/defaultEvals)
}
