//go:build planted

package train

import (
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/runlog"
)

// shortDocuments is a run in which many documents are shorter than half of the context.
func shortDocuments(t *testing.T) *config.Config {
	return tiny(t, "train.context=256", "train.batch_tokens=1024", "train.micro_tokens=256", "train.steps=2",
		"checkpoint.every=1")
}

// Planted runs are marked as such, and differ from the clean one from the first step.
func TestPlantedRuns(t *testing.T) {
	cfg := shortDocuments(t)
	clean := finished(t, cfg, Options{})
	for _, name := range []string{"padding-in-loss", "lost-eos", "shifted-label", "mean-of-means", "document-leak",
		"bf16-weights", "one-paragraph"} {
		r := finished(t, cfg, Options{Inject: []string{name + "@1"}})
		if weights(t, r.Dir, 1) == weights(t, clean.Dir, 1) {
			t.Errorf("%s: the weights of step 1 are those of the clean run", name)
		}
		if s := runlog.All[runlog.Step](readLog(t, r.Dir)); !s[0].Injected {
			t.Errorf("%s: not marked", name)
		}
	}
}
