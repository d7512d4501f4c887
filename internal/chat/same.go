package chat

import (
	"fmt"
	"strings"

	"gimbal/internal/jinja"
)

// Tokens are the names of the tokens that a template may write.
type Tokens struct {
	Start    string // what begins a text here; "": nothing
	BOS, EOS string // bos_token and eos_token; "": there is none
}

// rendered returns what a template writes of a conversation, with what asks for an answer behind it if ask is set.
func rendered(template string, t Tokens, messages []Message, ask bool) (string, error) {
	parsed, err := jinja.Parse(template)
	if err != nil {
		return "", err
	}
	all := &Template{source: Source{Names: map[string]string{"bos_token": t.BOS, "eos_token": t.EOS}}, first: parsed}
	out, err := all.run(&view{messages: all.plain(messages)}, len(messages), ask)
	return out.Text, err
}

// probes are the conversations of which a template and a format must make the same.
var probes = func() (all [][]Message) {
	system, user := Message{Role: "system", Text: []byte("Be exact.")}, Message{Role: User, Text: []byte("What is it?")}
	answer := Message{Role: Assistant, Text: []byte("It is\n\n\"this\".")}
	return [][]Message{{user}, {user, answer}, {system, user}, {system, user, answer}, {user, answer, user},
		{system, user, answer, user, answer}}
}()

// Differs returns how what a template writes of conversations differs from what the format writes, or why that cannot
// be found out; "" if it does not. Line breaks at the end of a conversation do not matter, nor does the start token.
func Differs(f Format, template string, t Tokens) string {
	if system := ownSystem(f, template, t); system != "" {
		return fmt.Sprintf("it adds the system message %s where there is none; put that into the conversations to train "+
			"with it", shorten(system))
	}
	for _, messages := range probes {
		ask := messages[len(messages)-1].Role == User
		theirs, err := rendered(template, t, messages, ask)
		if err != nil {
			return err.Error()
		}
		theirs = strings.TrimPrefix(theirs, t.Start)
		const answer = "\x00"
		if ask {
			messages = append(messages[:len(messages):len(messages)], Message{Role: Assistant, Text: []byte(answer)})
		}
		ours := ""
		for p, err := range f.Render(&Conversation{Messages: messages}) {
			if err != nil {
				return err.Error()
			}
			ours += string(p.Text)
		}
		if ask {
			ours, _, _ = strings.Cut(ours, answer)
		} else {
			theirs = strings.TrimRight(theirs, "\n")
		}
		if theirs != ours {
			i := 0
			for i < min(len(theirs), len(ours)) && theirs[i] == ours[i] {
				i++
			}
			return fmt.Sprintf("it writes %s where %s has %s", shorten(theirs[i:]), f.Name(), shorten(ours[i:]))
		}
	}
	return ""
}

// ownSystem returns the system message with which a template begins a conversation that has none, "" if it does not.
func ownSystem(f Format, template string, t Tokens) string {
	const system = "\x00"
	with := ""
	c := Conversation{Messages: []Message{{Role: "system", Text: []byte(system)}, probes[0][0]}}
	for p, err := range f.Render(&c) {
		if err != nil {
			return ""
		}
		with += string(p.Text)
	}
	before, after, _ := strings.Cut(with, system)
	theirs, err := rendered(template, t, probes[0], false)
	text, ok := strings.CutPrefix(strings.TrimRight(strings.TrimPrefix(theirs, t.Start), "\n"), before)
	text, also := strings.CutSuffix(text, after)
	if err != nil || !ok || !also {
		return ""
	}
	return text
}

// shorten quotes the beginning of a text.
func shorten(text string) string {
	const most = 50
	if len(text) <= most {
		return fmt.Sprintf("%q", text)
	}
	return fmt.Sprintf("%.*q…", most, text)
}
