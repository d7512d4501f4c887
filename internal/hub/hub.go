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
)

// Names of the files of a model directory.
const (
	configFile     = "config.json"
	generationFile = "generation_config.json"
	tokenizerFile  = "tokenizer.json"
	tokConfigFile  = "tokenizer_config.json"
	specialFile    = "special_tokens_map.json"
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
