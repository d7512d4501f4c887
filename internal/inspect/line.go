package inspect

import (
	"fmt"
	"strings"

	"gimbal/internal/runlog"
)

// headline is the kinds of tensors that a line shows.
var headline = []string{"attn", "mlp"}

// Line is a look at everything in one line: mean |g| from the first block to the last, and the rest in a number each.
func Line(rec *runlog.Layers, events int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "health of step %d:", rec.Step)
	for _, kind := range headline {
		var first, last float64
		for _, l := range rec.Layers {
			switch {
			case l.Tensor != kind:
			case l.Block == 0:
				first, last = float64(l.GradMean), float64(l.GradMean)
			case l.Block > 0: // blocks are in their order
				last = float64(l.GradMean)
			}
		}
		fmt.Fprintf(&b, " |g| %s %.2g → %.2g ·", kind, first, last)
	}
	fmt.Fprintf(&b, " update/weight %.2g", float64(rec.UpdateRatio))
	if p := rec.Activations; p.Tokens > 0 {
		sum, heads, dead := 0.0, 0, 0.0
		for _, l := range p.Blocks {
			for _, e := range l.Entropy {
				sum += float64(e)
				heads++
			}
			dead = max(dead, float64(l.Dead))
		}
		fmt.Fprintf(&b, " · stream %.2g → %.2g · entropy %.2f · dead %.0f %% · ln Z %.3g", float64(p.EmbedRMS),
			float64(p.Blocks[len(p.Blocks)-1].StreamRMS), sum/float64(heads), 100*dead, float64(p.LogZ))
	}
	switch events {
	case 0:
		b.WriteString(" · no new problems")
	case 1:
		b.WriteString(" · 1 alarm")
	default:
		fmt.Fprintf(&b, " · %d alarms", events)
	}
	return b.String()
}
