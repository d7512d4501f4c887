package hub

import (
	"fmt"

	"gimbal/internal/config"
	"gimbal/internal/model"
	"gimbal/internal/tokenizer"
)

// Companion describes a model that is about to be saved, beside its weights.
type Companion struct {
	Arch     config.Arch
	Tok      *tokenizer.Tokenizer
	Start    int32   // token that begins a text
	Template string  // of conversations; empty: none
	TurnEnds []int32 // tokens that end a turn of a conversation
}

// Files are the files of a Hugging Face model directory but the weights, by name.
func (c Companion) Files() (map[string][]byte, error) {
	files := map[string][]byte{}
	eos := c.Tok.EOS()
	for name, write := range map[string]func() ([]byte, error){
		"config.json":            func() ([]byte, error) { return model.HFConfig(c.Arch, eos, c.Start) },
		"generation_config.json": func() ([]byte, error) { return model.GenerationConfig(eos, c.Start, c.TurnEnds...) },
		"tokenizer.json":         c.Tok.JSON,
		"tokenizer_config.json":  func() ([]byte, error) { return c.Tok.ConfigJSON(c.Arch.Context, c.Template) },
	} {
		data, err := write()
		if err != nil {
			return nil, fmt.Errorf("hub: write %s: %w", name, err)
		}
		files[name] = data
	}
	if c.Template != "" {
		files["chat_template.jinja"] = []byte(c.Template)
	}
	return files, nil
}
