package corpus

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gimbal/internal/sniff"
)

// Kinds of folders and files that this program writes, and models. They are never data.
const (
	ownOutput   = "output of Gimbal"
	runFolder   = "run of Gimbal"
	runPart     = "part of a run of Gimbal"
	checkFolder = "checkpoint"
	checksPart  = "folder of checkpoints"
	modelFolder = "model in Hugging Face format"
	cacheFolder = "token cache"
)

// ownKinds are left out without advice: nobody wants to convert them.
var ownKinds = []string{runFolder, runPart, checkFolder, checksPart, modelFolder, cacheFolder, ownOutput,
	sniff.TokenizerFile, specialFile}

// runNames are all names in the directory of a run.
var runNames = []string{"aside", "checkpoints", "config.toml", "lock", "log.jsonl", "post-mortem.md", "refused",
	"report.md", "samples", "tokenizer.json"}

// ownFolder says what a folder is by what it holds, if it is none of the user's texts: a run, a checkpoint, a model
// or a token cache. Names alone decide nothing but that there is nothing else.
func ownFolder(dir string, entries []fs.DirEntry) string {
	has := func(name string) bool {
		return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == name })
	}
	others := func(known func(name string) bool) bool { // beside the names that are known, and hidden ones
		return slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
			return !known(e.Name()) && !strings.HasPrefix(e.Name(), ".")
		})
	}
	start := func(name string) []byte {
		if !has(name) {
			return nil
		}
		return firstBytes(filepath.Join(dir, name))
	}
	manifest := start("manifest.json")
	switch {
	case bytes.HasPrefix(start("config.toml"), []byte("# Every value of this run and where it came from.\n")):
		return runFolder
	case isRunLog(start("log.jsonl")):
		return runFolder
	case has("lock") && has("samples") && !others(func(name string) bool {
		return slices.Contains(runNames, name)
	}): // it ended before its first record
		return runFolder
	case bytes.Contains(manifest, []byte(`"gimbal-tokens"`)):
		return cacheFolder
	case bytes.Contains(manifest, []byte(`"step":`)) && bytes.Contains(manifest, []byte(`"sha256":`)) &&
		(has("state.json") || !has("config.json")): // an export has one, too
		return checkFolder
	case bytes.Contains(start("marks.json"), []byte(`"last":`)) && !others(func(name string) bool {
		return name == "marks.json" || strings.HasPrefix(name, "step-")
	}):
		return checksPart
	case slices.ContainsFunc(entries, isWeights) && (isModelConfig(start("config.json")) || has("adapter_config.json")):
		return modelFolder
	}
	return ""
}

// isRunPart reports whether a path without links is one of the names in the directory of a run.
func isRunPart(path string) bool {
	parent, name := filepath.Split(path)
	if !slices.Contains(runNames, name) {
		return false
	}
	entries, err := os.ReadDir(parent)
	return err == nil && ownFolder(parent, entries) == runFolder
}

// isWeights knows the files of weights by the names that Hugging Face gives them.
func isWeights(e fs.DirEntry) bool {
	name := e.Name()
	return filepath.Ext(name) == ".safetensors" || name == "model.safetensors.index.json" ||
		strings.HasPrefix(name, "pytorch_model") && filepath.Ext(name) == ".bin"
}

// isModelConfig knows a config.json by the keys that say which model it is of.
func isModelConfig(head []byte) bool {
	return bytes.Contains(head, []byte(`"model_type"`)) || bytes.Contains(head, []byte(`"architectures"`))
}

// isRunLog knows a log of ours by its first record.
func isRunLog(head []byte) bool {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	var first struct {
		Kind    string `json:"kind"`
		Attempt int64  `json:"attempt"`
	}
	return json.Unmarshal(line, &first) == nil && first.Kind == "start" && first.Attempt > 0
}

// printed is what this program prints of a run: how it begins, and what is in it.
var printed = []struct{ begin, inside string }{
	{"gimbal: ", "\nrun      saved to "},
	{"model    ", "\nrun      saved to "},
	{"gimbal: ", "\n  run         "}, // with everything
	{"plan\n", "\n  run         "},
	{"sample 1 of ", "\nsaved to "}, // results alone
	{"done after step ", "\nsaved to "},
	{"{\n  \"dir\": ", "\"val_loss\": "},
}

// isPrinted reports whether a file begins with what this program prints of a run.
func isPrinted(head []byte) bool {
	head = bytes.TrimPrefix(head, []byte("nohup: ignoring input\n"))
	for _, p := range printed {
		if bytes.HasPrefix(head, []byte(p.begin)) && bytes.Contains(head, []byte(p.inside)) {
			return true
		}
	}
	return false
}

// firstBytes returns how a regular file begins; nothing if it cannot be read, which whoever reads it later reports.
func firstBytes(path string) []byte {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	head := make([]byte, sniffBytes)
	n, _ := io.ReadFull(f, head)
	return head[:n]
}
