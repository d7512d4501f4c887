package bench

import (
	"fmt"

	"gimbal/internal/config"
)

// charVocab is the number of different characters in the text that the character presets are known for.
const charVocab = 65

// bpeVocab stands for the vocabulary of presets that leave it to the size of the corpus.
const bpeVocab = 4096

// presetArch returns the configuration and the architecture of a preset; vocab and context of 0 leave the preset's.
func presetArch(preset string, vocab, context int) (*config.Config, config.Arch, error) {
	cfg := config.Default()
	if err := cfg.UsePreset(preset, "--model"); err != nil {
		return nil, config.Arch{}, err
	}
	if context != 0 {
		if err := cfg.SetPlanned("train.context", context, "--context"); err != nil {
			return nil, config.Arch{}, err
		}
	}
	switch {
	case vocab != 0:
	case cfg.Tokenizer.Kind == "chars":
		vocab = charVocab
	case cfg.Tokenizer.VocabSize != 0:
		vocab = cfg.Tokenizer.VocabSize
	default:
		vocab = bpeVocab
	}
	arch, err := cfg.Arch(vocab)
	return cfg, arch, err
}

// usage is an error about an option, with what would be right.
func usage(flag, format string, args ...any) error {
	return &config.Error{Faults: []config.Fault{{Where: "--" + flag, Text: fmt.Sprintf(format, args...)}}}
}
