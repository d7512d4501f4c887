// Package shards is the token cache: it writes, verifies and maps the tokens of a corpus, one directory for each. It
// knows no text and no tokenizer.
//
// A Folder makes caches with Build and finds whole ones with Open; Manifest.Map gives the Files of one. A cache is
// durable before it has its name, so a crash leaves nothing or a whole one. docs/format/shards.md is its specification.
package shards

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"gimbal/internal/corpus"
	"gimbal/internal/durable"
	"gimbal/internal/par"
)

// The cache of one corpus under one tokenizer is a directory: manifest.json, sources.json, index.bin and token shards.
// formatVersion changes with the specification.
const (
	formatName    = "gimbal-tokens"
	formatVersion = 2

	manifestFile = "manifest.json"
	sourcesFile  = "sources.json"
	indexFile    = "index.bin"
	usesFile     = "uses.bin"
	countsFile   = "counts.bin" // only where some tokens do not count
	shardPrefix  = "tokens-"

	recordBytes    = 64
	manifestLimit  = 64 << 20
	autoHashBytes  = 1 << 30 // the shards of a cache up to this size are hashed whenever it is opened
	maxTwoByteSize = 1 << 16
	readBuffer     = 256 << 10
)

// FullShard is the number of tokens in each shard but the last: 128 MB of 16-bit ids.
const FullShard = 64 << 20

func shardFile(i int64) string { return fmt.Sprintf("%s%05d.bin", shardPrefix, i) }

// Spec is what a cache is made of, besides the text.
type Spec struct {
	Sources   []corpus.Source
	Tokenizer string // its hash
	VocabSize int
	Shard     int64 // tokens in a full shard
}

// Key returns the name of a cache: a hash of everything that decides its content. text describes the corpus, with the
// hashes of its files.
func (s Spec) Key(text string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s %d\nshard %d\ntokenizer %s\n%s", formatName, formatVersion, s.Shard, s.Tokenizer, text)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Manifest describes a cache.
type Manifest struct {
	Format      string      `json:"format"`
	Version     int         `json:"version"`
	Key         string      `json:"key"`       // hash of everything that decides the content
	Tokenizer   string      `json:"tokenizer"` // hash of the tokenizer
	VocabSize   int         `json:"vocab_size"`
	TokenBytes  int         `json:"token_bytes"` // 2 or 4
	Tokens      int64       `json:"tokens"`
	Documents   int64       `json:"documents"`
	ShardTokens int64       `json:"shard_tokens"`
	Census      Census      `json:"census"`
	Files       []fileEntry `json:"files"`
	SHA256      string      `json:"sha256"` // of this file with the field empty
}

type fileEntry struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// encode fills in the manifest's own hash.
func (m *Manifest) encode() ([]byte, error) {
	m.SHA256 = ""
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	m.SHA256 = hex.EncodeToString(sum[:])
	return json.MarshalIndent(m, "", " ")
}

func (m *Manifest) has(name string) bool {
	return slices.ContainsFunc(m.Files, func(e fileEntry) bool { return e.Name == name })
}

// Content hashes tokens and document bounds, but not the places of the files.
func (m *Manifest) Content() string {
	h := sha256.New()
	for _, e := range m.Files {
		// The first has the places of files, the second follows from the rest.
		if e.Name != sourcesFile && e.Name != usesFile {
			fmt.Fprintln(h, e.Name, e.Bytes, e.SHA256)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Damage says what is wrong with a cache, which is then made again.
type Damage struct{ what string }

func (d *Damage) Error() string { return d.what }

// ErrNoCache says that there is none.
var ErrNoCache = errors.New("no cache")

// readManifest returns the manifest in dir if it is whole, of this format and version, and for key.
func readManifest(fsys durable.FS, dir, key string) (*Manifest, error) {
	if _, err := fsys.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoCache
	}
	raw, err := durable.ReadFile(fsys, filepath.Join(dir, manifestFile), manifestLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Damage{manifestFile + " is missing"}
	} else if err != nil {
		return nil, err
	}
	var m Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, &Damage{manifestFile + " is not valid JSON"}
	}
	if m.Format != formatName || m.Version != formatVersion {
		return nil, &Damage{fmt.Sprintf("%s has format %q version %d", manifestFile, m.Format, m.Version)}
	}
	if again, err := m.encode(); err != nil || !bytes.Equal(again, raw) {
		return nil, &Damage{manifestFile + " does not match its own hash"}
	}
	if m.Key != key {
		return nil, &Damage{manifestFile + " belongs to another corpus"}
	}
	return &m, nil
}

// verify checks the files that the manifest names: sizes always, the content of the token shards only if hashes.
func (m *Manifest) verify(fsys durable.FS, dir string, hashes bool) error {
	errs := make([]error, len(m.Files))
	var wg sync.WaitGroup
	slots := make(chan struct{}, 4) // enough to keep a disk busy
	for i, e := range m.Files {
		wg.Go(par.Guard(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			errs[i] = e.check(fsys, dir, hashes || !strings.HasPrefix(e.Name, shardPrefix))
		}))
	}
	wg.Wait()
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return errs[i] // the first in file order, whoever finished first
	}
	return nil
}

func (e fileEntry) check(fsys durable.FS, dir string, content bool) error {
	f, err := fsys.Open(filepath.Join(dir, e.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return &Damage{e.Name + " is missing"}
	} else if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case info.Size() != e.Bytes:
		return &Damage{fmt.Sprintf("%s has %d bytes, and its manifest says %d", e.Name, info.Size(), e.Bytes)}
	case !content:
		return nil
	}
	h := sha256.New()
	if _, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{f}, make([]byte, readBuffer)); err != nil {
		return &Damage{fmt.Sprintf("%s cannot be read: %v", e.Name, err)} // a bad sector is damage too
	}
	if hex.EncodeToString(h.Sum(nil)) != e.SHA256 {
		return &Damage{e.Name + " does not match its hash"}
	}
	return nil
}
