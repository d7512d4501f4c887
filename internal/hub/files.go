package hub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"gimbal/internal/config"
	"gimbal/internal/family"
	"gimbal/internal/tokenizer"
)

// Manner is how a model is to be used, as far as it is not in its tokenizer.
type Manner struct {
	Start    int32   // the token that begins a text; negative: none
	Template string  // of conversations; empty: none
	TurnEnds []int32 // tokens that end a turn, and so what the model writes
	Kept     Kept
}

// Kept is what came with a model and says how others use it. A run that begins from the model keeps it, except where
// the run makes it untrue.
type Kept struct {
	Generation, TokConfig, Special []byte // nil: there is none
	Template                       string // of conversations
	own                            bool   // it is in a file of its own
}

// Kept reads what came with the model.
func (m *Model) Kept() (k Kept, err error) {
	said, err := readNames(m)
	if err == nil {
		k.Generation, err = optional(m, generationFile)
	}
	if err == nil {
		k.TokConfig, err = optional(m, tokConfigFile)
	}
	if err == nil {
		k.Special, err = optional(m, specialFile)
	}
	k.Template, k.own = said.template, said.file == templateFile
	return k, err
}

// ModelFiles returns the files of a Hugging Face model directory except the weights, by name. They agree with each
// other: config.json and generation_config.json name the same tokens, and tokenizer_config.json says whether texts
// begin with one.
func ModelFiles(a config.Arch, tok *tokenizer.Tokenizer, m Manner) (map[string][]byte, error) {
	ends := tok.Ends()
	for _, id := range m.TurnEnds {
		if !slices.Contains(ends, id) {
			ends = append(ends, id)
		}
	}
	files := map[string][]byte{}
	for name, write := range map[string]func() ([]byte, error){
		configFile:     func() ([]byte, error) { return family.Config(a, ends[0], m.Start, "float32", ends[1:]...) },
		generationFile: func() ([]byte, error) { return generation(m, ends) },
		tokenizerFile:  tok.JSON,
		tokConfigFile:  func() ([]byte, error) { return tokConfig(a, tok, m) },
	} {
		data, err := write()
		if err != nil {
			return nil, fmt.Errorf("hub: write %s: %w", name, err)
		}
		files[name] = data
	}
	if m.Template != "" && (m.Template != m.Kept.Template || m.Kept.own) {
		files[templateFile] = []byte(m.Template)
	}
	if m.Kept.Special != nil {
		files[specialFile] = m.Kept.Special
	}
	return files, nil
}

// generation is the generation_config.json that came with the model, with the tokens as they are now.
func generation(m Manner, ends []int32) ([]byte, error) {
	now, err := family.Generation(ends[0], m.Start, ends[1:]...)
	if err != nil || m.Kept.Generation == nil {
		return now, err
	}
	return edited(m.Kept.Generation, now, "eos_token_id", "bos_token_id")
}

// tokConfig is the tokenizer_config.json that came with the model, with what is otherwise now.
func tokConfig(a config.Arch, tok *tokenizer.Tokenizer, m Manner) ([]byte, error) {
	begins := false
	if id, ok := tok.BOS(); ok {
		begins = id == m.Start
	}
	now, err := tok.ConfigJSON(max(a.Context, a.Positions), begins, m.Template)
	if err != nil || m.Kept.TokConfig == nil {
		return now, err
	}
	keys := []string{"add_bos_token", "model_max_length"}
	if begins {
		keys = append(keys, "bos_token")
	}
	if m.Template != m.Kept.Template {
		keys = append(keys, "chat_template")
	}
	return edited(m.Kept.TokConfig, now, keys...)
}

// edited returns the JSON object old with the values that keys have in now.
func edited(old, now []byte, keys ...string) ([]byte, error) {
	into, err := family.ReadObject(old, maxFile)
	if err != nil {
		return nil, err
	}
	from, err := family.ReadObject(now, maxFile)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if value, ok := from[key]; ok {
			into[key] = value
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err = enc.Encode(into)
	return b.Bytes(), err
}
