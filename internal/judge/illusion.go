package judge

import "fmt"

const (
	illusionPoints = 3    // evaluations over which a trend is looked for
	repetitive     = 0.25 // rep-4 of people's texts from which the validation text is called repetitive
	overlapping    = 0.05 // share of people's texts that are copied from the training text
)

// Illusion says where the validation loss flatters: one sentence for each reason. It is pure.
func Illusion(history []Point, last *Report) (warnings []string) {
	if n := len(history); n >= illusionPoints {
		a, b := history[n-illusionPoints], history[n-1]
		if a.measured() && b.measured() {
			grew := b.excess("rep") - a.excess("rep")
			// Below the cap an untrained model is learning to repeat as people do.
			more := grew > max(worseFloor, worseSigmas*b.Metrics["rep"].SE) && b.excess("rep") > excessCap
			if b.Loss < a.Loss && more {
				warnings = append(warnings, fmt.Sprintf("since step %d the validation loss fell from %.4f to %.4f "+
					"while excess repetition grew from %.3f to %.3f: the loss improves and the writing does not",
					a.Step, a.Loss, b.Loss, a.excess("rep"), b.excess("rep")))
			}
		}
	}
	if last == nil {
		return warnings
	}
	if m := last.Metrics["rep4"]; m.Compared && m.Human > repetitive {
		warnings = append(warnings, fmt.Sprintf("the validation text is repetitive itself: %.0f %% of the 4-grams "+
			"of its texts come again, so a low loss says little", 100*m.Human))
	}
	if m := last.Metrics["copied"]; m.Compared && m.Human > overlapping {
		warnings = append(warnings, fmt.Sprintf("the validation text overlaps the training text: %.0f %% of its "+
			"texts have a run of %d tokens from there, so the loss measures memory", 100*m.Human, copiedTokens))
	}
	return warnings
}
