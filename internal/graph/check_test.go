package graph

import (
	"strings"
	"testing"

	"gimbal/internal/config"
)

// What no program computes is refused by its name, and what is the same as what they compute is not.
func TestCheck(t *testing.T) {
	base := config.Arch{Shape: "llama", Layers: 2, Width: 16, Heads: 2, KVHeads: 2, HeadSize: 8, MLP: 16, Vocab: 32,
		Context: 64, NormEps: 1e-6, RopeTheta: 1e4}
	for want, change := range map[string]func(*config.Arch){
		"":                  func(a *config.Arch) {},
		" ":                 func(a *config.Arch) { a.Shape, a.Window = "mistral", 64 },
		"window of 63":      func(a *config.Arch) { a.Shape, a.Window = "mistral", 63 },
		"Norms after":       func(a *config.Arch) { a.Shape = "olmo2" },
		"layers that diff":  func(a *config.Arch) { a.Shape, a.Pattern = "smollm3", "fn" },
		"Rotary 4":          func(a *config.Arch) { a.Shape, a.Rotary = "phi3", 4 },
		"Parallel true":     func(a *config.Arch) { a.Shape, a.MLPKind, a.Parallel = "gpt_neox", "gelu", true },
		"gelu-exact":        func(a *config.Arch) { a.Shape, a.MLPKind = "gpt_neox", "gelu-exact" },
		"gemma3_text":       func(a *config.Arch) { a.Shape = "gemma3_text" },
		"RopeScale yarn":    func(a *config.Arch) { a.RopeScale = config.RopeScale{Kind: "yarn", Factor: 2, Gain: 1.1} },
		"  ":                func(a *config.Arch) { a.RopeScale = config.RopeScale{Kind: "linear", Factor: 2} },
		"layers that diffe": func(a *config.Arch) { a.Shape, a.Pattern = "smollm3", "nn" },
	} {
		a := base
		change(&a)
		a, _ = a.InFamily()
		err := Check(a)
		if fine := strings.TrimSpace(want) == ""; fine != (err == nil) ||
			!fine && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}
