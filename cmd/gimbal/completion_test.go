package main

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

func script(t *testing.T, shell string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run([]string{"completion", shell}, nil, &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	return stdout.String()
}

// TestBashCompletion asks bash.
func TestBashCompletion(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash here")
	}
	for typed, want := range map[string]string{
		"gimbal tr":                         "train",
		"gimbal da":                         "data",
		"gimbal data st":                    "stats",
		"gimbal help ":                      "train resume sample eval review compare why runs doctor data import export bench version completion help",
		"gimbal runs ":                      "list rm",
		"gimbal completion ":                "bash zsh fish",
		"gimbal train --dr":                 "--dry-run",
		"gimbal train --data x --verb":      "--verbose",
		"gimbal bench train --mode ":        "auto fp32 bf16",
		"gimbal bench train --mode = b":     "bf16",
		"gimbal -q data inspect --color al": "always",
		"gimbal runs rm -":                  "--help -h --version --verbose -v --quiet -q --yes -y",
		"gimbal train --steps ":             "", // nobody can guess
		"gimbal train --data ":              "", // files, which bash adds
		"gimbal sample ":                    "",
	} {
		words := strings.Split(typed, " ")
		ask := script(t, "bash") + "COMP_WORDS=(" + typed + " ''); COMP_CWORD=" + string(rune('0'+len(words)-1)) +
			"; _gimbal; echo \"${COMPREPLY[@]}\""
		if words[len(words)-1] != "" {
			ask = strings.Replace(ask, " '')", ")", 1)
		}
		out, err := exec.Command(bash, "-c", ask).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%q completes to %q, %v; want %q", typed, got, err, want)
		}
	}
}

// TestCompletionScripts wants every command and flag in the script of every shell, and the shells that are here to read
// theirs.
func TestCompletionScripts(t *testing.T) {
	for shell, flag := range map[string]string{"bash": "--dry-run", "zsh": "'--dry-run:", "fish": "-l dry-run"} {
		text := script(t, shell)
		for _, part := range []string{flag, "data stats", "completion", "step", "CHECKPOINT"} {
			if found := strings.Contains(text, part); found == (part == "CHECKPOINT") {
				t.Errorf("%s: %q: %v", shell, part, found)
			}
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("no %s here", shell)
			continue
		}
		cmd := exec.Command(path, "-n")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s does not read its script: %v\n%s", shell, err, out)
		}
	}
}
