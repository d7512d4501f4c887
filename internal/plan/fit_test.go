package plan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/data"
)

// little is a draft of so many bytes of text in one file, with the settings.
func little(t *testing.T, bytes int, settings ...string) (*Draft, error) {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	var s strings.Builder
	for i := 0; s.Len() < bytes; i++ {
		fmt.Fprintf(&s, "Note %d of the day: %d times the cat has come back. ", i, i*7%13)
	}
	path := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(path, []byte(s.String()[:bytes]), 0o666); err != nil {
		t.Fatal(err)
	}
	var sets []config.Assignment
	for _, s := range append([]string{"data.paths=" + path, "tokenizer.kind=bytes", "train.steps=20"}, settings...) {
		sets = append(sets, config.Set(s))
	}
	cfg, err := config.Load("", sets)
	if err != nil {
		t.Fatal(err)
	}
	d, err := OpenText(context.Background(), cfg, TextOptions{Workers: 1})
	if err == nil {
		t.Cleanup(func() { d.Close() })
	}
	return d, err
}

// A text of less than a batch gets smaller batches and, where it must, a shorter context; what was set stays.
func TestLittleText(t *testing.T) {
	for _, c := range []struct {
		bytes          int
		set            string
		context, batch int
		notes          int
	}{
		{20_000, "", 256, 8192, 0},
		{8_000, "", 256, 512, 1},
		{3_000, "", 256, 256, 1},
		{1_000, "", 64, 64, 1},
		{100, "", 16, 16, 1},
		{18, "", 16, 16, 1},
		{1_000, "train.context=128", 128, 128, 1},
		{1_000, "train.context=8", 8, 64, 1},
		{8_000, "train.batch_tokens=4096", 256, 4096, 0},
		{1_000, "train.micro_tokens=300", 256, 300, 1},
		{3_000, "model.preset=gpt2-124m", 256, 256, 1}, // whose context is 1024
	} {
		var settings []string
		if c.set != "" {
			settings = []string{c.set}
		}
		d, err := little(t, c.bytes, settings...)
		if err != nil {
			t.Errorf("%d bytes, %s: %v", c.bytes, c.set, err)
			continue
		}
		got := d.Config.Train
		if got.Context != c.context || got.BatchTokens != c.batch || len(d.warnings) != c.notes {
			t.Errorf("%d bytes, %s: context %d, batches of %d, told %q", c.bytes, c.set, got.Context, got.BatchTokens,
				d.warnings)
		}
		if err := d.Config.Check(); err != nil {
			t.Error(err)
		}
		if _, err := data.NewLoader(d.Text.Train, 1, got.BatchTokens); err != nil {
			t.Errorf("%d bytes, %s: %v", c.bytes, c.set, err)
		}
	}
}

// A text too small for anything, or for what was set, says what is missing.
func TestTooLittleText(t *testing.T) {
	for _, c := range []struct {
		bytes int
		set   string
		want  string
	}{
		{0, "tokenizer.kind=bpe", "no text in 1 file: all documents are empty; pass --data"},
		{1, "", "0 tokens to train on, and 16 are needed: add about 17 bytes"},
		{10, "", "10 tokens to train on, and 16 are needed: add about 7 bytes"},
		{100, "train.context=256", "96 tokens to train on, and 256 are needed: add about 169 bytes, or lower " +
			"train.context (--set) to at most 96"},
		{100, "train.micro_tokens=300", "lower train.micro_tokens (--set) to at most 96"},
		{1_000, "train.batch_tokens=4096", "lower train.batch_tokens (--set) to at most"},
	} {
		var settings []string
		if c.set != "" {
			settings = []string{c.set}
		}
		_, err := little(t, c.bytes, settings...)
		user := (*data.Error)(nil)
		if !errors.Is(err, data.ErrUnusable) && !errors.As(err, &user) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d bytes, %s: %v, want %q", c.bytes, c.set, err, c.want)
			continue
		}
		if c.bytes == 0 {
			continue
		}
		missing := 0
		_, rest, _ := strings.Cut(err.Error(), "add about ")
		if _, err := fmt.Sscan(rest, &missing); err != nil {
			t.Fatal(err)
		}
		if _, err := little(t, c.bytes+missing, settings...); err != nil {
			t.Errorf("%d bytes, %s: with %d bytes more: %v", c.bytes, c.set, missing, err)
		}
	}
}

// The plan has what names decide, says which setting they overrule, and what a train part of little text lacks.
func TestPlanOfNamedSplits(t *testing.T) {
	cfg := asked(t, "data.val_fraction=0.3")
	dir := t.TempDir()
	write := func(name string, lines int) {
		text := strings.Repeat(`{"text": "a line of some text"}`+"\n", lines)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("train.jsonl", 30)
	write("valid.jsonl", 20)
	write("test.jsonl", 1)
	if err := cfg.SetPlanned("data.paths", []string{dir}, "test"); err != nil {
		t.Fatal(err)
	}
	p, err := draft(t, cfg).Make(context.Background(), Request{Opener: machine{}})
	if err != nil {
		t.Fatal(err)
	}
	if p.Text.Held != "valid.jsonl" || p.Text.LeftOut != "test.jsonl" || p.Text.Ends != 30 || len(p.Warnings) != 1 ||
		!strings.Contains(p.Warnings[0], "data.val_fraction (--set) is not used: validation is valid.jsonl") {
		t.Errorf("%+v, warnings %q", p.Text, p.Warnings)
	}
	write("train.jsonl", 2)
	_, err = OpenText(context.Background(), cfg, TextOptions{})
	if err == nil || !strings.Contains(err.Error(), "add about 216 bytes to it; validation is valid.jsonl, by name") {
		t.Error(err)
	}
}

// The plan says where nothing or little teaches the model to stop.
func TestPlanTellsOfEnds(t *testing.T) {
	for set, want := range map[string]string{
		"data.val_from=before_end": "1 document ends in the training part",
		"data.val_from=end":        "no document ends in the training part: the model will not learn to stop",
		`data.separator=". "`:      "",
	} {
		d, err := little(t, 20_000, set)
		if err != nil {
			t.Fatal(err)
		}
		p, err := d.Make(context.Background(), Request{Opener: machine{}})
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		p.Write(&b)
		said := strings.Contains(b.String(), "learn to stop")
		if said != (want != "") || !strings.Contains(b.String(), want) {
			t.Errorf("%s: the plan is\n%s", set, b.String())
		}
	}
}

// The copy that is saved beside training is planned only where all the rest leaves room for it.
func TestCopy(t *testing.T) {
	p := &Plan{Params: 1 << 20}
	p.Memory.Model, p.Memory.Slots = 16<<20, 8<<20
	need := p.Memory.Total() + 12<<20
	for free, want := range map[int64]int64{0: 12 << 20, need*10/8 + 10: 12 << 20, need*10/8 - 10: 0} {
		if p.Hardware.Free = free; free == 0 {
			p.Hardware.Device = "cuda" // whose memory is not where the copy lies
		} else {
			p.Hardware.Device = ""
		}
		p.Memory.Copy = 0
		if p.chooseCopy(); p.Memory.Copy != want {
			t.Errorf("%d free: a copy of %d, want %d", free, p.Memory.Copy, want)
		}
	}
	p.Trained, p.Hardware.Device, p.Hardware.Free = 1<<10, "", 0 // an adapter, and nobody knows what is free
	if p.chooseCopy(); p.Memory.Copy != 4<<10+8<<20 {
		t.Errorf("with an adapter: %d", p.Memory.Copy)
	}
}
