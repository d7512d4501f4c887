package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/term"

	"gimbal"
	"gimbal/internal/durable"
	"gimbal/internal/runs"
	"gimbal/internal/screen"
)

type chatCmd struct {
	Run_   string `arg:"" name:"model" help:"Run, checkpoint, or model in Hugging Face format."`
	System string `help:"System message, before the conversation." placeholder:"TEXT"`
	sampling
	MaxTokens  int    `default:"1024" help:"Most tokens of an answer."`
	Checkpoint string `help:"${which}" placeholder:"NAME"`
	Weights    string `default:"auto" enum:"auto,fp32,bf16,int8" help:"Format of the weights: int8 is the fastest."`
	Device     string `default:"cpu" help:"Where to compute, as for train." placeholder:"NAME|PATH"`
	NoHistory  bool   `help:"Forget the lines that are typed; read none of those typed before."`
}

// Help implements kong.HelpProvider.
func (*chatCmd) Help() string {
	return `The conversation is written by the model's own chat template, and an answer ends where the model ends it. A
model without a template, or that was trained on plain text, continues what you write.

Lines that begin with / are commands: /help lists them. Ctrl-C ends an answer; Ctrl-D, or /quit, ends the program.
Without a terminal, each line of standard input is a message. On one, the lines typed are kept for the next start,
in a file that only you may read.`
}

const chatHelp = `/system TEXT      tell the assistant something first, and begin anew
/reset            begin anew
/temperature X    draw with another temperature; 0: the most probable token
/save FILE        save the conversation as a line of JSONL, to train on or to keep
/quit             end`

// talk is a conversation in progress.
type talk struct {
	*chatCmd
	env   *env
	model *gimbal.Model
	turns []gimbal.Message
	text  string // of a model that continues text
	typed bool   // by a person, who can begin anew
}

func (c *chatCmd) Run(e *env) error {
	if err := c.check(c.MaxTokens); err != nil {
		return err
	}
	weights := c.Weights
	if weights == "auto" {
		weights = ""
	}
	m, err := gimbal.Open(c.Run_, gimbal.OpenOptions{Checkpoint: c.Checkpoint, Weights: weights, Device: c.Device})
	if err != nil {
		return err
	}
	defer m.Close()
	t := &talk{chatCmd: c, env: e, model: m}
	t.reset()
	info := m.Info()
	e.progress.Notef("%s, step %d", info.Path, info.Step)
	for _, note := range info.Notes {
		e.progress.Notef("%s", note)
	}
	if info.Chat == "" {
		e.progress.Notef("this model was not trained on conversations: it continues what you write")
	}
	next, done := t.lines()
	defer done()
	for {
		line, err := next()
		switch {
		case errors.Is(err, io.EOF), e.ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		quit, err := t.take(line)
		if err != nil || quit {
			return err
		}
	}
}

// lines returns what reads the next line: with an editor and its history on a terminal. done ends it.
func (t *talk) lines() (next func() (string, error), done func()) {
	in, _ := t.env.stdin.(*os.File)
	out := screen.Terminal(t.env.stdout)
	if in == nil || out == nil || !term.IsTerminal(int(in.Fd())) {
		r := bufio.NewScanner(t.env.stdin)
		r.Buffer(nil, 1<<20)
		return func() (string, error) {
			if !r.Scan() {
				return "", cmp.Or(r.Err(), io.EOF)
			}
			return r.Text(), nil
		}, func() {}
	}
	t.typed = true
	editor := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{in, out}, "> ")
	done = func() {}
	if !t.NoHistory {
		dir, err := durable.StateDir()
		var history *durable.Lines
		if err == nil {
			history, err = durable.OpenLines(filepath.Join(dir, "history"))
		}
		if err == nil {
			editor.History, done = history, func() { history.Close() }
		} else {
			t.env.progress.Notef("the lines typed are not kept: %v", err)
		}
	}
	return func() (string, error) {
		before, err := term.MakeRaw(int(in.Fd())) // only while a line is read: an interrupt is a signal otherwise
		if err != nil {
			return "", err
		}
		defer term.Restore(int(in.Fd()), before)
		if width, height, err := term.GetSize(int(out.Fd())); err == nil && width > 0 { // 0: it does not know
			editor.SetSize(width, height)
		}
		return editor.ReadLine()
	}, done
}

// take takes a line: a command, or what the user says.
func (t *talk) take(line string) (quit bool, err error) {
	name, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	tell := func(format string, a ...any) { t.env.progress.Notef(format, a...) }
	switch {
	case !strings.HasPrefix(line, "/"):
		return false, t.answer(line)
	case name == "/quit" || name == "/exit":
		return true, nil
	case name == "/help":
		fmt.Fprintln(t.env.stdout, chatHelp)
	case name == "/reset":
		t.reset()
		tell("a new conversation")
	case name == "/system":
		t.System = rest
		t.reset()
		tell("a new conversation, with that said first")
	case name == "/temperature":
		x, err := strconv.ParseFloat(rest, 64)
		if err != nil || !(x >= 0) {
			tell("/temperature %s: a number from 0 up", rest)
			break
		}
		t.Temperature = x
	case name == "/save":
		if err := t.save(rest); err != nil {
			tell("not saved: %v", err)
		} else {
			tell("saved to %s", rest)
		}
	default:
		tell("%s is no command; /help lists them", name)
	}
	return false, nil
}

// reset begins a new conversation.
func (t *talk) reset() {
	t.turns, t.text = nil, ""
	if t.System != "" {
		t.turns = []gimbal.Message{{Role: "system", Content: t.System}}
	}
}

// answer prints what the model says to a line. An interrupt ends the answer, which stays in the conversation as far as
// it came.
func (t *talk) answer(line string) error {
	ctx, cancel := context.WithCancel(t.env.ctx)
	defer cancel()
	defer t.env.insteadOfEnding(cancel)()
	opt := t.options(t.MaxTokens)
	opt.Keep = true
	tokens := t.model.Chat(ctx, append(t.turns, gimbal.Message{Role: "user", Content: line}), opt)
	if t.model.Info().Chat == "" {
		if t.text != "" {
			t.text += "\n"
		}
		t.text += line
		opt.Samples = 1
		tokens = t.model.Stream(ctx, t.text, opt)
	}
	var said strings.Builder
	for token, err := range tokens {
		var full *gimbal.PromptError
		switch {
		case errors.As(err, &full) && t.typed:
			t.env.progress.Notef("the conversation is longer than the context of the model; /reset begins anew")
			return nil
		case err != nil && ctx.Err() != nil && t.env.ctx.Err() == nil:
			token.Finish = gimbal.FinishStop
		case err != nil:
			return err
		}
		said.WriteString(token.Text)
		fmt.Fprint(t.env.stdout, runs.EscapeText(token.Text))
		if token.Finish != "" {
			fmt.Fprintln(t.env.stdout)
			cutNote(t.env, token.Finish)
			break
		}
	}
	t.turns = append(t.turns, gimbal.Message{Role: "user", Content: line},
		gimbal.Message{Role: "assistant", Content: said.String()})
	t.text += said.String()
	return t.env.unwritten()
}

// save writes the conversation to a new file.
func (t *talk) save(path string) error {
	if path == "" {
		return errors.New("name a file")
	}
	var record any = map[string]any{"messages": t.turns}
	if t.model.Info().Chat == "" {
		record = map[string]any{"text": t.text}
	}
	raw, err := json.Marshal(record)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(append(raw, '\n'))
	return firstError(err, f.Close())
}
