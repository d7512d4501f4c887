package runlog

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"gimbal/internal/durable"
	"gimbal/internal/durable/crash"
)

// written is a log of n steps, of which the first old were written before lines had sums.
func written(t testing.TB, n, old int) []byte {
	t.Helper()
	fsys := crash.New()
	for i := range old {
		f, err := fsys.Append("log.jsonl")
		if err == nil {
			_, err = fmt.Fprintf(f, "{\"kind\":\"step\",\"step\":%d,\"loss\":3}\n", i+1)
		}
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	w, err := OpenWriter(fsys, "log.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for i := old; i < n; i++ {
		err = errors.Join(err, w.Write(Step{At: At{Step: int64(i + 1)}, Loss: 3}))
		if i == n/2 { // another process goes on
			err = errors.Join(err, w.Close())
			w, _ = OpenWriter(fsys, "log.jsonl")
		}
	}
	raw, rerr := durable.ReadFile(fsys, "log.jsonl", 1<<20)
	if err := errors.Join(err, rerr, w.Close()); err != nil {
		t.Fatal(err)
	}
	return raw
}

func altered(t testing.TB, raw []byte) int {
	t.Helper()
	l, err := Parse(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return l.Altered
}

// Every line that is altered, removed, put in or moved shows, without a checkpoint that knows the log; a log from
// before lines had sums, one that a crash tore, and the beginning of a log are as they were written.
func TestChain(t *testing.T) {
	for _, old := range []int{0, 5, 20} {
		raw := written(t, 20, old)
		lines := bytes.SplitAfter(raw, []byte("\n"))[:20]
		for n := range len(raw) + 1 {
			if got := altered(t, raw[:n]); got != 0 {
				t.Fatalf("%d old lines, cut after %d bytes: %d places", old, n, got)
			}
		}
		for i := range lines {
			without := bytes.Join(slices.Delete(slices.Clone(lines), i, i+1), nil)
			if got, want := altered(t, without), old < 20 && i < 19; (got == 1) != want {
				t.Errorf("%d old lines, line %d removed: %d places", old, i+1, got)
			}
			if i < 19 && old < 20 {
				moved := slices.Clone(lines)
				moved[i], moved[i+1] = moved[i+1], moved[i]
				if altered(t, bytes.Join(moved, nil)) == 0 {
					t.Errorf("%d old lines, line %d moved: nothing shows", old, i+1)
				}
			}
		}
	}
	raw := written(t, 20, 5)
	for i := range len(raw) - 1 { // without its end the last line may be torn
		bad := bytes.Clone(raw)
		bad[i] ^= 1 << (i % 8)
		if l, err := Parse(bytes.NewReader(bad)); err != nil || l.Altered == 0 && l.Garbled == 0 && !l.Torn {
			t.Errorf("byte %d became %q: nothing shows", i, bad[i])
		}
	}
	torn := slices.Concat(raw, []byte(`{"kind":"event","numbers":{"a":1}`+"\n"))
	if got := altered(t, torn); got != 0 {
		t.Errorf("a torn line counts as altered: %d", got)
	}
}
