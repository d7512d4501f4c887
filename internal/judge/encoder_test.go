package judge

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/safetensors"
)

type wordPieceGolden struct {
	Source    string
	Tokenizer json.RawMessage
	Texts     []string
	IDs       [][]int
}

func readWordPiece(t *testing.T) (g wordPieceGolden) {
	t.Helper()
	data, err := os.ReadFile("testdata/wordpiece.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &g); err != nil || len(g.Texts) < 8 {
		t.Fatalf("%d texts, %v", len(g.Texts), err)
	}
	return g
}

// Word pieces are those of Hugging Face tokenizers, without the unknown.
func TestWordPieceAgrees(t *testing.T) {
	g := readWordPiece(t)
	t.Log(g.Source)
	w, err := parseWordPiece(g.Tokenizer)
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range g.Texts {
		if got := w.split(text); !slices.Equal(got, g.IDs[i]) {
			t.Errorf("%q: %v, recorded %v", text, got, g.IDs[i])
		}
	}
}

// encoderDir writes a folder with a static embedding of as many rows as asked for.
func encoderDir(t *testing.T, tokenizer []byte, name string, rows, dims int) string {
	t.Helper()
	dir := t.TempDir()
	table := make([]float32, rows*dims)
	for i := range table {
		table[i] = float32(i%7) - 3
	}
	f, err := os.Create(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := safetensors.Write(f, []safetensors.Entry{{Name: "position", Shape: []int{2, 2}, Data: make([]float32, 4)},
		{Name: name, Shape: []int{rows, dims}, Data: table}}, nil, "F32"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tokenizer.json"), tokenizer, 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

// mkdir makes a folder of a name, and returns its path.
func mkdir(t *testing.T, name string) string {
	path := filepath.Join(t.TempDir(), name)
	if err := os.Mkdir(path, 0o777); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestStaticEncoder(t *testing.T) {
	g := readWordPiece(t)
	dir := encoderDir(t, append([]byte("\xEF\xBB\xBF"), g.Tokenizer...), "embeddings", 40, 6) // a mark is dropped
	for _, path := range []string{dir, filepath.Join(dir, "model.safetensors")} {
		e, err := OpenEncoder(path)
		if err != nil {
			t.Fatal(err)
		}
		if e.Dims() != 6 {
			t.Errorf("%d dims", e.Dims())
		}
		got := []float64{9, 9, 9, 9, 9, 9}
		e.Encode(got, []byte("the mill, zebra")) // pieces 2, 3 and 20
		for k := range got {
			want := 0.0
			for _, id := range []int{2, 3, 20} {
				want += float64((id*6+k)%7-3) / 3
			}
			if math.Abs(got[k]-want) > 1e-9 {
				t.Errorf("dimension %d: %v, want %v", k, got[k], want)
			}
		}
		if e.Encode(got, nil); slices.Max(got) != 0 || slices.Min(got) != 0 {
			t.Errorf("an empty text has %v", got)
		}
	}
	for what, tt := range map[string]struct{ dir, want string }{
		"few rows": {encoderDir(t, g.Tokenizer, "embeddings", 5, 6), "5 rows for"},
		"no table": {encoderDir(t, g.Tokenizer, "something", 40, 6), "no table of word pieces"},
		"a bpe": {encoderDir(t, []byte(`{"model": {"type": "BPE", "vocab": {"a": 0}}}`), "embeddings", 40, 6),
			`type "BPE"`},
		"a unigram": {encoderDir(t, []byte(`{"model": {"type": "Unigram", "vocab": [["a", 0.5]]}}`), "embeddings", 40, 6),
			"not of type WordPiece"},
		"no json":  {encoderDir(t, []byte(`{`), "embeddings", 40, 6), "tokenizer.json"},
		"a folder": {filepath.Dir(mkdir(t, "tokenizer.json")), "not a regular file"},
		"nothing":  {filepath.Join(t.TempDir(), "nowhere"), "nowhere"},
		"a negative": {encoderDir(t, []byte(`{"model": {"type": "WordPiece", "vocab": {"a": -1}}}`), "embeddings", 40, 6),
			"id -1"},
	} {
		if _, err := OpenEncoder(tt.dir); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
