package data

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
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
// docs/format/shards.md is its specification; formatVersion changes with it.
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
	shardTokens    = 64 << 20 // tokens in each shard but the last: 128 MB of 16-bit ids
	manifestLimit  = 64 << 20
	autoHashBytes  = 1 << 30 // the shards of a cache up to this size are hashed whenever it is opened
	maxTwoByteSize = 1 << 16
	readBuffer     = 256 << 10
)

func shardFile(i int64) string { return fmt.Sprintf("%s%05d.bin", shardPrefix, i) }

type manifest struct {
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
func (m *manifest) encode() ([]byte, error) {
	m.SHA256 = ""
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	m.SHA256 = hex.EncodeToString(sum[:])
	return json.MarshalIndent(m, "", " ")
}

func (m *manifest) has(name string) bool {
	return slices.ContainsFunc(m.Files, func(e fileEntry) bool { return e.Name == name })
}

// content hashes tokens and document bounds, but not the places of the files.
func (m *manifest) content() string {
	h := sha256.New()
	for _, e := range m.Files {
		// The first has the places of files, the second follows from the rest.
		if e.Name != sourcesFile && e.Name != usesFile {
			fmt.Fprintln(h, e.Name, e.Bytes, e.SHA256)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// record is one document in index.bin.
type record struct {
	Begin   int64 // its first token, counted over all shards
	Tokens  int64
	Bytes   int64 // what its tokens spell
	Ref     corpus.Ref
	Invalid uint32   // bytes that are not valid UTF-8, at most 2^32-1
	Hash    [16]byte // first half of the SHA-256 of its text
}

func (r *record) append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, uint64(r.Begin))
	dst = le.AppendUint64(dst, uint64(r.Tokens))
	dst = le.AppendUint64(dst, uint64(r.Bytes))
	dst = le.AppendUint64(dst, uint64(r.Ref.Offset))
	dst = le.AppendUint64(dst, uint64(r.Ref.Length))
	dst = le.AppendUint32(dst, uint32(r.Ref.Source))
	dst = le.AppendUint32(dst, r.Invalid)
	return append(dst, r.Hash[:]...)
}

// index reads index.bin in place.
type index []byte

func (x index) len() int             { return len(x) / recordBytes }
func (x index) word(i, at int) int64 { return int64(binary.LittleEndian.Uint64(x[i*recordBytes+at:])) }
func (x index) begin(i int) int64    { return x.word(i, 0) }
func (x index) tokens(i int) int64   { return x.word(i, 8) }
func (x index) hash(i int) []byte    { return x[i*recordBytes+48 : (i+1)*recordBytes] }
func (x index) hash64(i int) uint64  { return binary.BigEndian.Uint64(x.hash(i)) }
func (x index) source(i int) int32   { return int32(binary.LittleEndian.Uint32(x[i*recordBytes+40:])) }
func (x index) ref(i int) corpus.Ref {
	return corpus.Ref{Source: x.source(i), Offset: x.word(i, 24), Length: x.word(i, 32)}
}

// shards are the tokens of a set in place.
type shards struct {
	per  int64 // tokens in each shard but the last
	wide bool  // 4 bytes a token, else 2
	data [][]byte
}

// append appends tokens [lo, hi) to dst.
func (s *shards) append(dst []int32, lo, hi int64) []int32 {
	for lo < hi {
		shard, at := lo/s.per, lo%s.per
		n := min(hi-lo, s.per-at)
		if s.wide {
			b := s.data[shard][4*at : 4*(at+n)]
			for ; len(b) >= 4; b = b[4:] {
				dst = append(dst, int32(binary.LittleEndian.Uint32(b)))
			}
		} else {
			b := s.data[shard][2*at : 2*(at+n)]
			for ; len(b) >= 2; b = b[2:] {
				dst = append(dst, int32(binary.LittleEndian.Uint16(b)))
			}
		}
		lo += n
	}
	return dst
}

// damage says what is wrong with a cache, which is then made again.
type damage struct{ what string }

func (d *damage) Error() string { return d.what }

var errNoCache = errors.New("no cache")

// readManifest returns the manifest in dir if it is whole, of this format and version, and for key.
func readManifest(fsys durable.FS, dir, key string) (*manifest, error) {
	if _, err := fsys.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, errNoCache
	}
	raw, err := durable.ReadFile(fsys, filepath.Join(dir, manifestFile), manifestLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &damage{manifestFile + " is missing"}
	} else if err != nil {
		return nil, err
	}
	var m manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, &damage{manifestFile + " is not valid JSON"}
	}
	if m.Format != formatName || m.Version != formatVersion {
		return nil, &damage{fmt.Sprintf("%s has format %q version %d", manifestFile, m.Format, m.Version)}
	}
	if again, err := m.encode(); err != nil || !bytes.Equal(again, raw) {
		return nil, &damage{manifestFile + " does not match its own hash"}
	}
	if m.Key != key {
		return nil, &damage{manifestFile + " belongs to another corpus"}
	}
	return &m, nil
}

// verify checks the files that the manifest names: sizes always, the content of the token shards only if hashes.
func (m *manifest) verify(fsys durable.FS, dir string, hashes bool) error {
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
		return &damage{e.Name + " is missing"}
	} else if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case info.Size() != e.Bytes:
		return &damage{fmt.Sprintf("%s has %d bytes, and its manifest says %d", e.Name, info.Size(), e.Bytes)}
	case !content:
		return nil
	}
	h := sha256.New()
	if _, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{f}, make([]byte, readBuffer)); err != nil {
		return &damage{fmt.Sprintf("%s cannot be read: %v", e.Name, err)} // a bad sector is damage too
	}
	if hex.EncodeToString(h.Sum(nil)) != e.SHA256 {
		return &damage{e.Name + " does not match its hash"}
	}
	return nil
}

// fileWriter writes one file of a cache through a buffer and hashes it.
type fileWriter struct {
	name string
	f    durable.File
	h    hash.Hash
	n    int64
	buf  []byte
}

func createFile(fsys durable.FS, dir, name string) (*fileWriter, error) {
	f, err := fsys.Create(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	return &fileWriter{name: name, f: f, h: sha256.New(), buf: make([]byte, 0, readBuffer)}, nil
}

// room writes the buffer to the file unless n more bytes fit into it.
func (w *fileWriter) room(n int) error {
	if len(w.buf)+n <= cap(w.buf) {
		return nil
	}
	return w.flush()
}

func (w *fileWriter) flush() error {
	n, err := w.f.Write(w.buf)
	w.h.Write(w.buf[:n])
	w.n += int64(n)
	w.buf = w.buf[:0]
	return err
}

// finish makes the file durable and describes it.
func (w *fileWriter) finish() (fileEntry, error) {
	err := w.flush()
	if err == nil {
		err = w.f.Sync()
	}
	if cerr := w.f.Close(); err == nil {
		err = cerr
	}
	return fileEntry{w.name, w.n, hex.EncodeToString(w.h.Sum(nil))}, err
}
