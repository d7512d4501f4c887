package corpus

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// ownFolders are folders by what they hold; the script own.txt of the command has real ones.
var ownFolders = []struct {
	kind  string
	files map[string]string
}{
	{runFolder, map[string]string{"config.toml": "# Every value of this run and where it came from.\n\n[data]\n",
		"report.md": "#"}},
	{runFolder, map[string]string{"log.jsonl": `{"kind":"start","step":0,"batch":0,"attempt":1}` + "\n",
		"notes.md": "n"}},
	{runFolder, map[string]string{"lock": `{"pid":1}` + "\n", "samples/eval-1.md": "text"}},
	{checkFolder, map[string]string{"manifest.json": "{\n  \"format\": 1,\n  \"step\": 4,\n  \"sha256\": \"\"\n}\n",
		"tokenizer.json": "{}"}},
	{modelFolder, map[string]string{"config.json": `{"model_type": "llama"}`, "model-00001-of-00002.safetensors": "",
		"README.md": "m"}},
	{modelFolder, map[string]string{"config.json": `{"architectures": ["X"]}`, "pytorch_model.bin": "",
		"merges.txt": "a b"}},
	{checksPart, map[string]string{"marks.json": `{"last": 2}`, "step-2/x.txt": "x"}},
	{modelFolder, map[string]string{"adapter_config.json": "{}", "adapter_model.safetensors": "", "README.md": "m"}},
	{cacheFolder, map[string]string{"manifest.json": `{"format": "gimbal-tokens"}`, "sources.json": "[]"}},
	{"", map[string]string{"config.toml": "[data]\npaths = \"a\"\n", "samples/a.txt": "a"}},
	{"", map[string]string{"config.json": `{"debug": true}`, "a.txt": "a"}},
	{"", map[string]string{"config.json": `{"model_type": "llama"}`, "a.txt": "a"}},
	{"", map[string]string{"manifest.json": `{"name": "app", "version": 2}`, "a.txt": "a"}},
	{"", map[string]string{"lock": "", "samples/a.txt": "a", "notes.txt": "n"}},
	{"", map[string]string{"log.jsonl": `{"text":"kind start"}`, "samples/a.txt": "a"}},
	{"", map[string]string{"runs/readme.txt": "a folder of that name", "checkpoints/a.txt": "a"}},
}

func TestOwnFolder(t *testing.T) {
	for _, c := range ownFolders {
		dir := t.TempDir()
		write(t, dir, "notes.txt", "notes")
		var names []string
		for name, content := range c.files {
			write(t, dir, "deep/below/"+name, content)
			names = append(names, "deep/below/"+name)
		}
		names = append(names, "notes.txt")
		if c.kind != "" {
			names = []string{"notes.txt"}
		}
		slices.Sort(names)
		found := discover(t, Options{}, dir)
		if got := paths(found, dir); !slices.Equal(got, names) {
			t.Errorf("%s %q: sources %q, want %q", c.kind, c.files, got, names)
		}
		_, err := Discover([]string{filepath.Join(dir, "deep/below")}, Options{})
		if c.kind == "" {
			if err != nil || len(found.Skipped) != 0 {
				t.Errorf("%q: %v, skipped %v", c.files, err, found.Skipped)
			}
			continue
		}
		f := found.Findings()
		want := "left out: 1 " + c.kind + " (" + filepath.Join("deep", "below") + ")"
		if len(f) != 1 || f[0].Text != want || f[0].Warn {
			t.Errorf("%q: findings %+v", c.files, f)
		}
		if err == nil || !strings.Contains(err.Error(), "not data but a "+c.kind) {
			t.Errorf("%s named directly: %v", c.kind, err)
		}
	}
}

// TestOutputs leaves out what this process writes, wherever and by whatever path.
func TestOutputs(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "notes.txt", "notes")
	log := write(t, dir, "nohup.out", "step 1\n")
	out := filepath.Dir(write(t, dir, "out/kept.txt", "somebody's"))
	symlink(t, "nohup.out", filepath.Join(dir, "link"))
	var opt Options
	for _, path := range []string{log, out} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		opt.Outputs = append(opt.Outputs, info)
	}
	c := discover(t, opt, dir)
	if got := paths(c, dir); !slices.Equal(got, []string{"notes.txt"}) || c.Skipped[ownOutput] != 3 {
		t.Errorf("sources %q, skipped %v", got, c.Skipped)
	}
	for _, path := range []string{log, out} {
		if _, err := Discover([]string{path}, opt); err == nil || !strings.Contains(err.Error(), "where the run writes") {
			t.Errorf("%s named directly: %v", path, err)
		}
	}
}
