package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func complete(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run(args, nil, &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	return stdout.String()
}

// TestCompletions wants the words that may come next, for what is typed before the cursor.
func TestCompletions(t *testing.T) {
	commands := "train resume sample chat eval review compare why runs checkpoint doctor device data import export bench " +
		"version completion help"
	global := "--help --version --verbose --quiet"
	for typed, want := range map[string]string{
		"tr":                         commands,
		"help ":                      commands,
		"data ":                      "inspect stats cache",
		"data cache -":               global + " --remove --json",
		"-q data ":                   "inspect stats cache",
		"runs ":                      "list rm",
		"runs rm --":                 global + " --yes",
		"completion ":                "bash zsh fish",
		"bench train --mode ":        "auto fp32 bf16",
		"bench train --mode =":       "auto fp32 bf16", // as bash splits --mode=
		"bench train --mode = b":     "auto fp32 bf16", // as bash splits --mode=b
		"data inspect --color ":      "auto always never",
		"sample --checkpoint train ": "", // the value of a flag, not a command
		"train --steps ":             "",
		"sample ":                    "",
		"train --data data ":         "",
	} {
		var got []string
		for line := range strings.Lines(complete(t, append([]string{"complete"}, strings.Split(typed, " ")...)...)) {
			word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
			got = append(got, word)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
}

// TestCompletionScripts asks the shells that are here.
func TestCompletionScripts(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "gimbal") // the test binary under this name is the program
	if err := copyFile(bin, self); err != nil {
		t.Fatal(err)
	}
	for shell, ask := range map[string]string{
		"bash": "COMP_WORDS=(" + bin + " bench train --mode b); COMP_CWORD=4; _gimbal; echo ${COMPREPLY[@]}",
		"fish": "complete -C '" + bin + " bench train --mode b'",
		"zsh":  "words=(" + bin + " bench train --mode b) CURRENT=5; _describe() { echo ${(M)list:#b*} }\n_gimbal",
	} {
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("no %s here", shell)
			continue
		}
		text := "compdef() { : }\n" + complete(t, "completion", "zsh")
		if shell != "zsh" {
			text = complete(t, "completion", shell)
		}
		out, err := exec.Command(path, "-c", text+"\n"+ask).CombinedOutput()
		if got := strings.TrimRight(string(out), ":\n\t "); err != nil || got != "bf16" {
			t.Errorf("%s: %q, %v", shell, out, err)
		}
	}
}
