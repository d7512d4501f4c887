package shards

import (
	"encoding/binary"
	"errors"
	"path/filepath"

	"gimbal/internal/corpus"
	"gimbal/internal/durable"
)

// Record is one document in index.bin.
type Record struct {
	Tokens  int64
	Bytes   int64 // what its tokens spell
	Ref     corpus.Ref
	Invalid uint32   // bytes that are not valid UTF-8, at most 2^32-1
	Hash    [16]byte // first half of the SHA-256 of its text

	Text int64 // bytes of the document; counted, not stored
	Chat bool  // it is a conversation; counted, not stored
}

// append appends the record of a document of which begin is the first token, counted over all shards.
func (r *Record) append(dst []byte, begin int64) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, uint64(begin))
	dst = le.AppendUint64(dst, uint64(r.Tokens))
	dst = le.AppendUint64(dst, uint64(r.Bytes))
	dst = le.AppendUint64(dst, uint64(r.Ref.Offset))
	dst = le.AppendUint64(dst, uint64(r.Ref.Length))
	dst = le.AppendUint32(dst, uint32(r.Ref.Source))
	dst = le.AppendUint32(dst, r.Invalid)
	return append(dst, r.Hash[:]...)
}

// Index reads index.bin in place.
type Index []byte

// Len returns the number of documents.
func (x Index) Len() int { return len(x) / recordBytes }

func (x Index) word(i, at int) int64 { return int64(binary.LittleEndian.Uint64(x[i*recordBytes+at:])) }

// Begin returns the first token of a document, counted over all shards, and Tokens how many it has.
func (x Index) Begin(i int) int64  { return x.word(i, 0) }
func (x Index) Tokens(i int) int64 { return x.word(i, 8) }

// Hash returns the hash of a document, and Hash64 its first 64 bits.
func (x Index) Hash(i int) []byte   { return x[i*recordBytes+48 : (i+1)*recordBytes] }
func (x Index) Hash64(i int) uint64 { return binary.BigEndian.Uint64(x.Hash(i)) }

// Ref returns the place of a document, and Source only its source.
func (x Index) Ref(i int) corpus.Ref {
	return corpus.Ref{Source: x.Source(i), Offset: x.word(i, 24), Length: x.word(i, 32)}
}
func (x Index) Source(i int) int32 { return int32(binary.LittleEndian.Uint32(x[i*recordBytes+40:])) }

// Files are the mapped files of a cache.
type Files struct {
	Index Index
	Mask  Mask // which tokens count

	mappings []*durable.Mapping
	per      int64 // tokens in each shard but the last
	wide     bool  // 4 bytes a token, else 2
	shards   [][]byte
	uses     []byte // how often each id came, 8 bytes each
}

// Map maps the files of a verified manifest in dir. The caller closes them.
func (m *Manifest) Map(dir string) (_ *Files, err error) {
	f := &Files{per: m.ShardTokens, wide: m.TokenBytes == 4}
	mapped := func(name string) (b []byte) {
		var mapping *durable.Mapping
		if err == nil {
			mapping, err = durable.Map(filepath.Join(dir, name))
		}
		if err == nil {
			f.mappings, b = append(f.mappings, mapping), mapping.Bytes()
		}
		return b
	}
	f.Index = mapped(indexFile)
	for i := int64(0); i*m.ShardTokens < m.Tokens && err == nil; i++ {
		f.shards = append(f.shards, mapped(shardFile(i)))
	}
	if m.has(countsFile) {
		f.Mask = mapped(countsFile)
	}
	f.uses = mapped(usesFile)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Close unmaps the files, which cannot be used any more.
func (f *Files) Close() error {
	var errs []error
	for _, m := range f.mappings {
		errs = append(errs, m.Close())
	}
	f.mappings = nil
	return errors.Join(errs...)
}

// Uses returns how often a token comes in the documents. The tokenizer may have more ids than when the cache was made;
// those never come.
func (f *Files) Uses(id int32) int64 {
	if at := 8 * int(id); at < len(f.uses) {
		return int64(binary.LittleEndian.Uint64(f.uses[at:]))
	}
	return 0
}

// Append appends tokens [lo, hi) to dst.
func (f *Files) Append(dst []int32, lo, hi int64) []int32 {
	for lo < hi {
		shard, at := lo/f.per, lo%f.per
		n := min(hi-lo, f.per-at)
		if f.wide {
			b := f.shards[shard][4*at : 4*(at+n)]
			for ; len(b) >= 4; b = b[4:] {
				dst = append(dst, int32(binary.LittleEndian.Uint32(b)))
			}
		} else {
			b := f.shards[shard][2*at : 2*(at+n)]
			for ; len(b) >= 2; b = b[2:] {
				dst = append(dst, int32(binary.LittleEndian.Uint16(b)))
			}
		}
		lo += n
	}
	return dst
}
