// Package hub is the door to Hugging Face model directories: Import makes a
// checkpoint of one, Export writes one, and Describe reads what both sides have in
// common, the configuration and the tokenizer.
//
// A directory of others is not trusted. Its files are opened by their plain names
// through os.Root, so that nothing outside of it is read; each is read no further
// than its limit; the weights are compared with the configuration before anything
// is allocated for them; what cannot be computed is refused by file and key; and
// pickle files, which can run code, are not read at all. Every such refusal is an
// *Error.
//
// The package knows files and how they fit together. What a configuration means is
// known to model, what a tokenizer file means to tokenizer, and what makes a
// checkpoint whole to checkpoint.
package hub

import (
	"errors"
	"fmt"
	"io/fs"

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
	File string // in Dir; empty if it is about the directory
	Err  error  // says what and where, and what to do
}

func (e *Error) Error() string {
	if e.File == "" {
		return fmt.Sprintf("%s: %v", e.Dir, e.Err)
	}
	return fmt.Sprintf("%s: %s: %v", e.Dir, e.File, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Files is a directory whose files are read whole: a checkpoint, or a model directory of others. An error that matches
// fs.ErrNotExist says that there is no such file.
type Files interface {
	Path() string
	File(name string) ([]byte, error)
}

// Describe reads the tokenizer and the architecture of a model directory and checks that they fit one another. The
// ends of a text are those of config.json, else those known by name. Ids of the model above those of the tokenizer
// spell nothing.
func Describe(f Files) (*tokenizer.Tokenizer, config.Arch, error) {
	fail := func(name string, err error) (*tokenizer.Tokenizer, config.Arch, error) {
		return nil, config.Arch{}, &Error{f.Path(), name, err}
	}
	raw, err := f.File(configFile)
	if err != nil {
		return fail(configFile, err)
	}
	arch, err := model.ParseHFConfig(raw)
	if err != nil {
		return fail(configFile, err)
	}
	eos, bos, err := model.ParseHFEnds(raw)
	if err != nil {
		return fail(configFile, err)
	}
	if bos == eos { // documents start with the end of the last: there is no token for their beginning
		bos = -1
	}
	if raw, err = f.File(tokenizerFile); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: save the tokenizer in its fast form (tokenizer.save_pretrained)", err)
		}
		return fail(tokenizerFile, err)
	}
	tok, err := tokenizer.ParseAs(raw, tokenizer.Roles{EOS: eos, BOS: bos, Size: arch.Vocab})
	var role *tokenizer.RoleError
	switch {
	case errors.As(err, &role):
		key := map[string]string{"EOS": "eos_token_id", "BOS": "bos_token_id", "Size": "vocab_size"}[role.Role]
		return fail(configFile, fmt.Errorf("%s: %w", key, err))
	case err != nil:
		return fail(tokenizerFile, err)
	}
	return tok, arch, nil
}

// Start returns the token after which the texts of a model begin: the one that config.json names as their beginning,
// else that of the tokenizer, else the end of the text before.
func Start(f Files, tok *tokenizer.Tokenizer) (int32, error) {
	raw, err := f.File(configFile)
	if err == nil {
		var bos int32
		if _, bos, err = model.ParseHFEnds(raw); bos >= 0 {
			return bos, nil
		}
	}
	if err != nil {
		return 0, &Error{f.Path(), configFile, err}
	}
	if bos, ok := tok.BOS(); ok {
		return bos, nil
	}
	return tok.EOS(), nil
}
