package tokenizer

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gimbal/internal/testseed"
)

// dataDir holds the third-party texts, which are never committed.
const dataDir = "../../../shared/data"

// newRand returns a generator whose seed is printed.
var newRand = testseed.Rand

// docsOf yields the documents.
func docsOf(docs ...[]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, d := range docs {
			if !yield(d, nil) {
				return
			}
		}
	}
}

// sharedText returns a third-party text: a file as it is, or of a JSONL file
// whose lines have "text" these, joined by line breaks. It skips the test if
// the texts are not there.
func sharedText(t testing.TB, name string) []byte {
	t.Helper()
	if text, ok := sharedTexts[name]; ok {
		return text
	}
	text := readShared(t, name)
	sharedTexts[name] = text
	return text
}

var sharedTexts = map[string][]byte{} // no test of this package runs in parallel

func readShared(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dataDir, filepath.FromSlash(name)))
	if os.IsNotExist(err) {
		t.Skipf("third-party text %s is not beside the repository", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(name, ".gz") {
		return data
	}
	zr, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if data, err = io.ReadAll(zr); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(name, ".jsonl") {
		return data
	}
	var texts [][]byte
	for line := range bytes.Lines(data) {
		var doc struct{ Text string }
		if err := json.Unmarshal(line, &doc); err != nil {
			t.Fatal(err)
		}
		texts = append(texts, []byte(doc.Text))
	}
	return bytes.Join(texts, []byte("\n"))
}

// goSource returns the Go files of the toolchain's source tree, in the order
// of their paths, up to limit bytes.
var goSource = sync.OnceValue(func() [][]byte {
	const limit = 20e6
	root := os.Getenv("GOROOT") // go test sets it
	if root == "" {
		out, err := exec.Command("go", "env", "GOROOT").Output()
		if err != nil {
			panic(err)
		}
		root = strings.TrimSpace(string(out))
	}
	var files [][]byte
	total := 0
	err := filepath.WalkDir(filepath.Join(root, "src"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files = append(files, text)
		if total += len(text); total >= limit {
			return filepath.SkipAll
		}
		return nil
	})
	if err != nil {
		panic(err)
	}
	return files
})
