package shards

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"path/filepath"
	"slices"

	"gimbal/internal/durable"
)

// Writer writes tokens and index in document order.
type Writer struct {
	Census Census // of what was written; Read, which is about what was not, is the caller's

	spec Spec
	fs   durable.FS
	dir  string
	wide bool

	open          []*fileWriter
	tokens, index *fileWriter
	mask          maskWriter
	total, inFile int64 // tokens written, and of these in the open shard
	next          int64 // first token of the next document of the index
	files         []fileEntry
	lengths       lengths
	uses          []int64 // how often each id came
}

// write makes the files of a cache with what fill writes.
func (w *Writer) write(key string, fill func(*Writer) error) (_ *Manifest, err error) {
	defer func() {
		for _, f := range w.open { // after a failure
			_ = f.f.Close()
		}
	}()
	if w.index, err = w.create(indexFile); err != nil {
		return nil, err
	}
	w.wide = w.spec.VocabSize > maxTwoByteSize
	w.uses = make([]int64, w.spec.VocabSize)
	w.Census.Sources = int64(len(w.spec.Sources))
	if err := fill(w); err != nil {
		return nil, err
	}
	w.Census.Lengths = w.lengths.quantiles()
	if err := w.mask.finish(); err != nil {
		return nil, err
	}
	for _, f := range []*fileWriter{w.tokens, w.index, w.mask.f} {
		if f == nil {
			continue
		}
		if err := w.finish(f); err != nil {
			return nil, err
		}
	}
	sources, err := json.MarshalIndent(w.spec.Sources, "", " ")
	if err != nil {
		return nil, err
	}
	uses, err := binary.Append(nil, binary.LittleEndian, w.uses)
	if err := errors.Join(err, w.whole(sourcesFile, sources), w.whole(usesFile, uses)); err != nil {
		return nil, err
	}
	m := &Manifest{Format: formatName, Version: formatVersion, Key: key, Tokenizer: w.spec.Tokenizer,
		VocabSize: w.spec.VocabSize, TokenBytes: 2, Tokens: w.total, Documents: w.Census.Documents,
		ShardTokens: w.spec.Shard, Census: w.Census, Files: w.files}
	if w.wide {
		m.TokenBytes = 4
	}
	raw, err := m.encode()
	if err == nil {
		err = w.whole(manifestFile, raw)
	}
	if err != nil {
		return nil, err
	}
	return m, w.fs.SyncDir(w.dir)
}

// create makes a file of the cache.
func (w *Writer) create(name string) (*fileWriter, error) {
	f, err := createFile(w.fs, w.dir, name)
	if err == nil {
		w.open = append(w.open, f)
	}
	return f, err
}

// finish makes a file durable and lists it.
func (w *Writer) finish(f *fileWriter) error {
	e, err := f.finish()
	w.open = slices.DeleteFunc(w.open, func(o *fileWriter) bool { return o == f })
	w.files = append(w.files, e)
	return err
}

// whole writes a file at once.
func (w *Writer) whole(name string, content []byte) error {
	f, err := w.create(name)
	if err != nil {
		return err
	}
	f.buf = content
	return w.finish(f)
}

// Counts says of the next n tokens whether they count. It may come before or after them.
func (w *Writer) Counts(n int64, counts bool) error { return w.mask.add(n, counts, w.create) }

// Document adds a document. Its tokens are the first that are not yet of another.
func (w *Writer) Document(r *Record) error {
	w.Census.add(r)
	w.lengths.add(r.Tokens)
	if err := w.index.room(recordBytes); err != nil {
		return err
	}
	w.index.buf = r.append(w.index.buf, w.next)
	w.next += r.Tokens
	return nil
}

// Tokens appends tokens.
func (w *Writer) Tokens(ids []int32) (err error) {
	for len(ids) > 0 {
		if w.tokens != nil && w.inFile == w.spec.Shard {
			if err := w.finish(w.tokens); err != nil {
				return err
			}
			w.tokens, w.inFile = nil, 0
		}
		if w.tokens == nil {
			if w.tokens, err = w.create(shardFile(w.total / w.spec.Shard)); err != nil {
				return err
			}
		}
		n := int(min(int64(len(ids)), w.spec.Shard-w.inFile, readBuffer/4))
		if err := w.tokens.room(4 * n); err != nil {
			return err
		}
		b := w.tokens.buf
		for _, id := range ids[:n] {
			w.uses[id]++
			if w.wide {
				b = append(b, byte(id), byte(id>>8), byte(id>>16), byte(id>>24))
			} else {
				b = append(b, byte(id), byte(id>>8))
			}
		}
		w.tokens.buf = b
		w.inFile += int64(n)
		w.total += int64(n)
		ids = ids[n:]
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
