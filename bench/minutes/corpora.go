package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"unicode/utf8"

	"gimbal/internal/corpus"
)

// text is one corpus of the study.
type text struct {
	name string
	file string   // in the folder of texts; empty: the source tree of the installed Go
	set  []string // settings that go with it, for every candidate
}

var texts = []text{
	{"go", "", nil},
	{"shakespeare", "tinyshakespeare.txt", []string{"tokenizer.kind=chars"}},
	{"poems", "tang-poems-zh.jsonl.gz", nil},
}

// folder is a corpus on disk, split by the names of its two files, so that every learner holds out the same bytes.
type folder struct {
	text
	dir      string
	valBytes int64 // that the held-out texts spell
}

const (
	heldDocuments = 0.05 // of many documents, as data.val_fraction has it
	heldText      = 0.1  // of one text, as nanoGPT cuts it
)

// split writes train and valid of a text into a folder: documents as JSONL, a single text as it is. Documents fall on
// the side that their hash gives them, which is Gimbal's own rule; of a single text the end is held out.
func split(ctx context.Context, t text, data, work string) (f folder, err error) {
	var c *corpus.Corpus
	if t.file == "" {
		c, err = corpus.GoCorpus("", corpus.Options{})
	} else {
		c, err = corpus.Discover([]string{filepath.Join(data, t.file)}, corpus.Options{})
	}
	if err == nil {
		c, err = c.Identify(ctx, 0)
	}
	if err != nil {
		return f, err
	}
	var docs [][]byte
	for d, err := range c.Documents(ctx, nil) {
		if err != nil {
			return f, err
		}
		if d.Chat != nil {
			return f, fmt.Errorf("%s: a conversation; the study reads plain texts", t.name)
		}
		raw, err := io.ReadAll(d.Text)
		if err != nil {
			return f, err
		}
		if !utf8.Valid(raw) {
			return f, fmt.Errorf("%s: document %d is not UTF-8", t.name, len(docs))
		}
		docs = append(docs, raw)
	}
	f = folder{text: t, dir: filepath.Join(work, t.name)}
	if len(docs) == 1 {
		cut := int(float64(len(docs[0])) * (1 - heldText))
		for !utf8.RuneStart(docs[0][cut]) {
			cut++
		}
		f.valBytes = int64(len(docs[0]) - cut)
		return f, errors.Join(f.write("train.txt", docs[0][:cut]), f.write("valid.txt", docs[0][cut:]))
	}
	held := func(d []byte) bool {
		sum := sha256.Sum256(d)
		return float64(binary.BigEndian.Uint64(sum[:8])>>11)/(1<<53) < heldDocuments
	}
	var train, valid bytes.Buffer
	for _, d := range docs {
		to := &train
		if held(d) {
			to = &valid
			f.valBytes += int64(len(d))
		}
		enc := json.NewEncoder(to)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(map[string]string{"text": string(d)}); err != nil {
			return f, err
		}
	}
	return f, errors.Join(f.write("train.jsonl", train.Bytes()), f.write("valid.jsonl", valid.Bytes()))
}

// write writes a file of the folder, unless it is there as it should be.
func (f folder) write(name string, raw []byte) error {
	path := filepath.Join(f.dir, name)
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, raw) {
		return nil
	}
	if err := os.MkdirAll(f.dir, 0o777); err != nil {
		return err
	}
	return os.WriteFile(path, raw, 0o666)
}

// findText returns the corpus of a name.
func findText(name string) (text, error) {
	i := slices.IndexFunc(texts, func(t text) bool { return t.name == name })
	if i < 0 {
		return text{}, fmt.Errorf("there is no corpus %q: want go, shakespeare or poems", name)
	}
	return texts[i], nil
}
