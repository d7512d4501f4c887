package main

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// commands are what the scripts can do beside the usual.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	// foreign DIR: writes a model directory that no run of ours has made.
	"foreign": func(ts *testscript.TestScript, neg bool, args []string) { ts.Check(writeForeign(ts.MkAbs(args[0]))) },

	// code N COMMAND ARGS...: runs a command and wants exit code N. Its output is in stdout.txt and stderr.txt.
	"code": func(ts *testscript.TestScript, neg bool, args []string) {
		var stdout, stderr strings.Builder
		cmd := command(ts, args[1:])
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		got := exitCode(ts, cmd)
		ts.Stdout().Write([]byte(stdout.String()))
		ts.Stderr().Write([]byte(stderr.String()))
		ts.Check(os.WriteFile(ts.MkAbs("stdout.txt"), []byte(stdout.String()), 0o666))
		ts.Check(os.WriteFile(ts.MkAbs("stderr.txt"), []byte(stderr.String()), 0o666))
		if got != args[0] {
			ts.Fatalf("exit code %s, want %s\n%s%s", got, args[0], stdout.String(), stderr.String())
		}
	},

	// pipe N FILE COMMAND ARGS...: as code, with all output in one file.
	"pipe": func(ts *testscript.TestScript, neg bool, args []string) {
		var all strings.Builder
		cmd := command(ts, args[2:])
		cmd.Stdout, cmd.Stderr = &all, &all
		got := exitCode(ts, cmd)
		ts.Logf("%s", all.String())
		ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(all.String()), 0o666))
		if got != args[0] {
			ts.Fatalf("exit code %s, want %s", got, args[0])
		}
	},

	// lines FILE LEAST MOST: wants that many lines.
	"lines": func(ts *testscript.TestScript, neg bool, args []string) {
		n := strings.Count(ts.ReadFile(args[0]), "\n")
		least, err := strconv.Atoi(args[1])
		ts.Check(err)
		most, err := strconv.Atoi(args[2])
		ts.Check(err)
		if n < least || n > most {
			ts.Fatalf("%s has %d lines", args[0], n)
		}
	},

	// next FILE PATTERN...: wants these commands below "next:", and that a shell runs them.
	"next": func(ts *testscript.TestScript, neg bool, args []string) {
		_, below, ok := strings.Cut(ts.ReadFile(args[0]), "next:\n")
		if !ok {
			ts.Fatalf("%s does not say what comes next", args[0])
		}
		for line := range strings.Lines(below) {
			typed, ok := strings.CutPrefix(line, "  ")
			if !ok {
				break
			}
			args = slices.Delete(args, 0, 1)
			if len(args) == 0 || !regexp.MustCompile("^(?:"+args[0]+")\n$").MatchString(typed) {
				ts.Fatalf("unexpected: %s", typed)
			}
			cmd := command(ts, []string{"sh", "-c", typed})
			if out, err := cmd.CombinedOutput(); err != nil {
				ts.Fatalf("%s%v\n%s", typed, err, out)
			}
		}
		if len(args) > 1 {
			ts.Fatalf("missing: %s", args[1])
		}
	},

	// until FILE PATTERN: waits until a line of the file matches.
	"until": func(ts *testscript.TestScript, neg bool, args []string) {
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			raw, _ := os.ReadFile(ts.MkAbs(args[0]))
			if regexp.MustCompile("(?m)" + args[1]).Match(raw) {
				return
			}
			if time.Now().After(deadline) {
				ts.Fatalf("%s never matched", args[0])
			}
		}
	},
}

// command is a command in the directory and the environment of a script.
func command(ts *testscript.TestScript, args []string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = ts.Getenv("WORK"), os.Environ()
	for _, name := range []string{"XDG_CACHE_HOME", "PATH", "HOME", "GIMBAL_PJRT_PLUGIN"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	return cmd
}

// exitCode runs a command.
func exitCode(ts *testscript.TestScript, cmd *exec.Cmd) string {
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("%v", err)
	}
	return strconv.Itoa(cmd.ProcessState.ExitCode())
}
