package shards

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"gimbal/internal/corpus"
	"gimbal/internal/durable"
	"gimbal/internal/testseed"
)

// build makes a cache of documents, of which every third token does not count, in parent.
func build(t *testing.T, parent string, spec Spec, docs [][]int32) (key string, m *Manifest) {
	t.Helper()
	spec.Sources = []corpus.Source{{Path: "a.txt"}}
	key = spec.Key(filepath.Join(parent, "a.txt"))
	m, err := Folder{FS: durable.OS, Dir: parent}.Build(key, spec, func(w *Writer) error {
		n := 0
		for i, ids := range docs {
			if err := w.Tokens(ids); err != nil {
				return err
			}
			for range ids {
				if err := w.Counts(1, n%3 != 0); err != nil {
					return err
				}
				n++
			}
			err := w.Document(&Record{Tokens: int64(len(ids)), Bytes: 2, Ref: corpus.Ref{Offset: int64(i), Length: 5},
				Hash: [16]byte{7: byte(i), 15: 1}})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return key, m
}

// TestFiles reads back what was written, for both widths of tokens and any size of the shards.
func TestFiles(t *testing.T) {
	r := testseed.Rand(t)
	for range 20 {
		spec := Spec{VocabSize: []int{300, 70_000}[r.IntN(2)], Shard: 1 + r.Int64N(30)}
		docs := make([][]int32, 1+r.IntN(6))
		var all []int32
		for d := range docs {
			docs[d] = []int32{}
			for range r.IntN(20) {
				docs[d] = append(docs[d], r.Int32N(int32(spec.VocabSize)))
			}
			all = append(all, docs[d]...)
		}
		parent := t.TempDir()
		key, _ := build(t, parent, spec, docs)
		folder := Folder{FS: durable.OS, Dir: parent}
		m, err := folder.Open(key)
		if err != nil {
			t.Fatal(err)
		}
		if c := m.Census; c.Documents != int64(len(docs)) || c.Tokens != int64(len(all)) || c.Sources != 1 ||
			m.Tokens != c.Tokens {
			t.Errorf("census %+v", c)
		}
		f, err := m.Map(folder.Path(key))
		if err != nil {
			t.Fatal(err)
		}
		begin := int64(0)
		for d, ids := range docs {
			n := f.Index.Tokens(d)
			if got := f.Append([]int32{}, begin, begin+n); f.Index.Begin(d) != begin || !slices.Equal(got, ids) {
				t.Errorf("document %d at %d: %v, want %v", d, f.Index.Begin(d), got, ids)
			}
			if ref := f.Index.Ref(d); ref != (corpus.Ref{Offset: int64(d), Length: 5}) ||
				f.Index.Hash64(d) != uint64(d) || f.Index.Hash(d)[15] != 1 {
				t.Errorf("document %d: %+v, %x", d, ref, f.Index.Hash(d))
			}
			begin += n
		}
		if f.Index.Len() != len(docs) || begin != int64(len(all)) {
			t.Errorf("%d documents, %d tokens", f.Index.Len(), begin)
		}
		for i, id := range all {
			uses := int64(0)
			for _, other := range all {
				if other == id {
					uses++
				}
			}
			if f.Uses(id) != uses || f.Mask.At(int64(i)) != (i%3 != 0) {
				t.Errorf("token %d: used %d times, counts: %v", i, f.Uses(id), f.Mask.At(int64(i)))
			}
		}
		if f.Uses(1<<20) != 0 {
			t.Error("an id outside of the vocabulary is used")
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestVerifyWithoutHashes is what a cache above autoHashBytes gets: the index is still read whole, the shards are not.
func TestVerifyWithoutHashes(t *testing.T) {
	parent := t.TempDir()
	key, _ := build(t, parent, Spec{VocabSize: 300, Shard: FullShard}, [][]int32{{5, 6, 7}})
	dir := filepath.Join(parent, key)
	m, err := readManifest(durable.OS, dir, key)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		file          string
		hashed, found bool
	}{{"tokens-00000.bin", false, false}, {"tokens-00000.bin", true, true}, {indexFile, false, true},
		{sourcesFile, false, true}} {
		name := filepath.Join(dir, c.file)
		old, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b := bytes.Clone(old)
		b[len(b)/2] ^= 1
		if err := os.WriteFile(name, b, 0o666); err != nil {
			t.Fatal(err)
		}
		if err := m.verify(durable.OS, dir, c.hashed); (err != nil) != c.found {
			t.Errorf("%s, hashes %v: %v", c.file, c.hashed, err)
		}
		if err := os.WriteFile(name, old, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

func TestManifestEncodesTheSame(t *testing.T) {
	if m := new(Manifest); func() bool { a, _ := m.encode(); b, _ := m.encode(); return !bytes.Equal(a, b) }() {
		t.Error("a manifest encodes differently the second time")
	}
}

// TestCaches lists a whole cache, a damaged one and litter, and leaves alone what is none of them.
func TestCaches(t *testing.T) {
	parent := t.TempDir()
	if list, err := Caches(filepath.Join(parent, "nowhere")); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	spec := Spec{VocabSize: 300, Shard: FullShard}
	keyA, _ := build(t, parent, spec, [][]int32{{1, 2, 3}})
	spec.Tokenizer = "another"
	keyB, _ := build(t, parent, spec, [][]int32{{1, 2, 3, 4}})
	a, b := filepath.Join(parent, keyA), filepath.Join(parent, keyB)
	for _, name := range []string{".tmp-litter/tokens-00000.bin", "notes/mine.txt", "file"} {
		path := filepath.Join(parent, name)
		err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte("xxxx"), 0o666))
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(b, manifestFile)); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-1000 * time.Hour)
	if err := os.Chtimes(a, old, old); err != nil {
		t.Fatal(err)
	}
	list, err := Caches(parent)
	if err != nil || len(list) != 3 {
		t.Fatalf("%+v, %v", list, err)
	}
	if last := list[2]; last.Dir != a || last.Tokens != 3 || last.Documents != 1 || last.Broken != "" ||
		last.Bytes < 100 {
		t.Errorf("%+v", last)
	}
	for _, c := range list[:2] {
		if c.Broken == "" {
			t.Errorf("%+v", c)
		}
	}
	for _, c := range list {
		if err := c.Remove(); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) != 2 {
		t.Errorf("%v, %v", left, err)
	}
}
