// Package hub reads and writes Hugging Face model directories: Import makes a checkpoint of one, Export writes one, and
// OpenModel reads a checkpoint's tokenizer and architecture.
//
// Import does not trust a directory. It opens files by their plain names through os.Root, so that it reads nothing
// outside of the directory, and no file further than its limit. It compares the weights with the configuration before
// it allocates anything for them. It refuses by file and key what cannot be computed. It does not read pickle files,
// which can run code. Every such refusal is an *Error.
//
// The package knows files and how they fit together. model knows what a configuration means, tokenizer what a tokenizer
// file means, and checkpoint what makes a checkpoint whole.
package hub

import (
	"fmt"

	"gimbal/internal/chat"
	"gimbal/internal/config"
	"gimbal/internal/model"
	"gimbal/internal/tokenizer"
)

// Names of the files of a model directory.
const (
	configFile     = "config.json"
	generationFile = "generation_config.json"
	tokenizerFile  = "tokenizer.json"
	tokConfigFile  = "tokenizer_config.json"
	templateFile   = chat.TemplateFile
	weightsFile    = "model.safetensors"
	indexFile      = weightsFile + ".index.json"
)

// Error is what is wrong with a model directory.
type Error struct {
	Dir  string
	File string // in Dir; empty: the directory itself
	Err  error  // says what and where, and what to do
}

func (e *Error) Error() string {
	if e.File == "" {
		return fmt.Sprintf("%s: %v", e.Dir, e.Err)
	}
	return fmt.Sprintf("%s: %s: %v", e.Dir, e.File, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// ModelFiles returns the files of a Hugging Face model directory except the weights, by name. start is the token that
// begins a text, negative for none. template is that of conversations, empty for none; turnEnds are the tokens that
// end a turn.
func ModelFiles(a config.Arch, tok *tokenizer.Tokenizer, start int32, template string, turnEnds ...int32) (
	map[string][]byte, error) {
	files := map[string][]byte{}
	for name, write := range map[string]func() ([]byte, error){
		configFile:     func() ([]byte, error) { return model.HFConfig(a, tok.EOS(), start, "float32") },
		generationFile: func() ([]byte, error) { return model.GenerationConfig(tok.EOS(), start, turnEnds...) },
		tokenizerFile:  tok.JSON,
		tokConfigFile:  func() ([]byte, error) { return tok.ConfigJSON(a.Context, template) },
	} {
		data, err := write()
		if err != nil {
			return nil, fmt.Errorf("hub: write %s: %w", name, err)
		}
		files[name] = data
	}
	if template != "" {
		files[templateFile] = []byte(template)
	}
	return files, nil
}
