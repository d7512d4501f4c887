package corpus

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"gimbal/internal/sniff"
)

// packed returns text as a .gz or .zst file.
func packed(t testing.TB, how pack, text []byte, opts ...zstd.EOption) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&b)
	if how == zst {
		var err error
		if w, err = zstd.NewWriter(&b, append(opts, zstd.WithEncoderConcurrency(1))...); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestPacked wants the same documents at the same places from a file and from its packed twins, also of several
// members.
func TestPacked(t *testing.T) {
	lines := "\xEF\xBB\xBF{\"text\":\"one\"}\n\n{\"text\":\"two\"}\n{\"messages\":[{\"role\":\"assistant\",\"content\":\"three\"}]}\n"
	text := strings.Repeat("first--second--", 40_000)
	for name, content := range map[string]string{"a.jsonl": lines, "b.txt": text, "c": "", "d.MD": "short"} {
		dir := t.TempDir()
		want, refs, err := readAll(discover(t, Options{Separator: "--"}, write(t, dir, name, content)), new(Tally))
		if err != nil || len(want) == 0 {
			t.Fatal(want, err)
		}
		half := len(content) / 2
		for ending, file := range map[string][]byte{
			".gz": packed(t, gz, []byte(content)), ".zst": packed(t, zst, []byte(content)),
			".ZST":        packed(t, zst, []byte(content)),
			".members.gz": append(packed(t, gz, []byte(content[:half])), packed(t, gz, []byte(content[half:]))...),
			".frames.zst": append(packed(t, zst, []byte(content[:half])), packed(t, zst, []byte(content[half:]))...),
		} {
			if strings.Contains(ending, ".members") || strings.Contains(ending, ".frames") {
				ending = strings.TrimPrefix(strings.TrimPrefix(ending, ".members"), ".frames")
			}
			if content == "" && ending == ".gz" && len(file) == 0 {
				t.Fatal("an empty text packs to nothing")
			}
			c := discover(t, Options{Separator: "--"}, write(t, t.TempDir(), name+ending, string(file)))
			got, gotRefs, err := readAll(c, new(Tally))
			if content == "" && len(file) == 0 {
				continue
			}
			if err != nil || !slices.Equal(got, want) || !slices.Equal(gotRefs, refs) {
				t.Errorf("%s%s: %d documents, want %d; %v", name, ending, len(got), len(want), err)
			}
			if b := c.Bytes(); b < int64(len(content))*9/10-10 || b > int64(len(content))*11/10+10 {
				t.Errorf("%s%s: said to hold %d bytes, and holds %d", name, ending, b, len(content))
			}
		}
	}
	dir := t.TempDir()
	write(t, dir, "x.tar.gz", string(packed(t, gz, []byte("x"))))
	write(t, dir, "y.tar.zst", string(packed(t, zst, []byte("x"))))
	write(t, dir, "z.tgz", string(packed(t, gz, []byte("x"))))
	write(t, dir, "image.gz", string(packed(t, gz, []byte("\x89PNG\x00"))))
	write(t, dir, "a.txt", "a")
	c := discover(t, Options{}, dir)
	if c.Skipped[sniff.Archive] != 3 || c.Skipped[sniff.Binary] != 1 || len(c.Sources) != 1 {
		t.Errorf("skipped %v", c.Skipped)
	}
}

// TestPackedDamage cuts and flips packed files: the error names the file, and no text of it passes for whole.
func TestPackedDamage(t *testing.T) {
	text := []byte(strings.Repeat("some text that packs well, and some more of it. ", 40_000))
	for name, file := range map[string][]byte{"a.gz": packed(t, gz, text), "a.zst": packed(t, zst, text)} {
		for _, damage := range []func(b []byte) []byte{
			func(b []byte) []byte { return b[:len(b)-1] },
			func(b []byte) []byte { return b[:len(b)/2] },
			func(b []byte) []byte { b[len(b)/2] ^= 0x10; return b },
			func(b []byte) []byte { b[len(b)-2] ^= 1; return b }, // a checksum
			func(b []byte) []byte { return append(b, "trailing"...) },
		} {
			path := write(t, t.TempDir(), name, string(damage(bytes.Clone(file))))
			c, err := Discover([]string{path}, Options{})
			if err == nil {
				_, _, err = readAll(c, new(Tally))
			}
			if fault := new(Error); !errors.As(err, &fault) || fault.Path != path || fault.Advice == "" {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// zeros is an endless text of nothing.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestBomb has files of 10 GB of nothing that are a few megabytes, or a few kilobytes: reading stops before they are
// unpacked.
func TestBomb(t *testing.T) {
	const size = 10 << 30
	if testing.Short() {
		t.Skip("packs 10 GB")
	}
	for _, how := range []pack{gz, zst} {
		path := filepath.Join(t.TempDir(), "bomb.txt."+map[pack]string{gz: "gz", zst: "zst"}[how])
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		var w io.WriteCloser
		if w, err = gzip.NewWriterLevel(f, gzip.BestCompression); how == zst {
			w, err = zstd.NewWriter(f)
		}
		if err != nil {
			t.Fatal(err)
		}
		// A member of 10 MB, a thousand times: gzip restarts at each, and is as small as it can be.
		if _, err := io.CopyN(w, io.MultiReader(strings.NewReader(strings.Repeat("text ", 2000)), zeros{}),
			size/1000); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Close(), f.Close()); err != nil {
			t.Fatal(err)
		}
		member, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if f, err = os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0); err != nil {
			t.Fatal(err)
		}
		for range 999 {
			if _, err := f.Write(member); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		s := Source{Path: path, pack: how, Size: int64(1000 * len(member))}
		c := &Corpus{Sources: []Source{s}}
		n := int64(0)
		cost := allocated(func() {
			for doc, derr := range c.Documents(t.Context(), nil) {
				if err = derr; err == nil {
					n, err = io.Copy(io.Discard, doc.Text)
				}
				if err != nil {
					break
				}
			}
		})
		t.Logf("%s: a file of %d bytes ends after %d, %d bytes allocated: %v", path, s.Size, n, cost, err)
		if err == nil || !strings.Contains(err.Error(), "grows more than 1000 times") || n > size/10 || cost > 32<<20 {
			t.Errorf("%d bytes of text, %d allocated, %v", n, cost, err)
		}
	}
}

// TestZstdWindow packs with a window that no text of this size needs.
func TestZstdWindow(t *testing.T) {
	text := []byte(strings.Repeat("text ", 10_000))
	for _, c := range []struct {
		window int
		ok     bool
	}{{8 << 20, true}, {256 << 20, false}} {
		var b bytes.Buffer
		w, err := zstd.NewWriter(&b, zstd.WithWindowSize(c.window), zstd.WithSingleSegment(false))
		if err != nil {
			t.Fatal(err)
		}
		for range 10 { // streamed, so that the header cannot state the size instead
			if _, err := w.Write(text); err != nil {
				t.Fatal(err)
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		path := write(t, t.TempDir(), "a.txt.zst", b.String())
		var fault error
		cost := allocated(func() { _, fault = Discover([]string{path}, Options{}) })
		if (fault == nil) != c.ok || cost > 48<<20 {
			t.Errorf("window %d: %v, %d bytes allocated", c.window, fault, cost)
		}
		if !c.ok && !strings.Contains(fault.Error(), "zstd -19") {
			t.Errorf("%v", fault)
		}
	}
}

// allocated returns the bytes that f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// FuzzPacked reads arbitrary bytes as packed JSONL: no panic, no more text than the limits allow, no more memory than
// a window and some buffers.
func FuzzPacked(f *testing.F) {
	text := []byte("{\"text\":\"a\"}\n{\"text\":\"b\"}\n")
	f.Add(packed(f, gz, text), true)
	f.Add(packed(f, zst, text), false)
	f.Add(packed(f, gz, bytes.Repeat(text, 1000)), true)
	f.Add(packed(f, zst, bytes.Repeat(text, 1000), zstd.WithEncoderLevel(zstd.SpeedBestCompression)), false)
	f.Add([]byte("\x28\xb5\x2f\xfd\x04\x58"), false)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte, isGz bool) {
		s := Source{Path: filepath.Join(dir, "fuzz"), pack: zst, kind: jsonl, Size: int64(len(content))}
		if isGz {
			s.pack = gz
		}
		if err := os.WriteFile(s.Path, content, 0o666); err != nil {
			t.Fatal(err)
		}
		total := int64(0)
		cost := allocated(func() {
			c := &Corpus{Sources: []Source{s}, opt: Options{BadDocuments: "skip"}}
			for doc, err := range c.Documents(context.Background(), nil) {
				if err != nil {
					if fault := new(Error); !errors.As(err, &fault) {
						t.Fatalf("%v", err)
					}
					return
				}
				if doc.Text == nil {
					continue
				}
				n, err := io.Copy(io.Discard, doc.Text)
				if err != nil {
					t.Fatal(err)
				}
				total += n
			}
		})
		if total > ratioFrom+maxRatio*int64(len(content)) || cost > 96<<20 {
			t.Fatalf("%d bytes of text and %d allocated from a file of %d", total, cost, len(content))
		}
	})
}
