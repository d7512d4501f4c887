package main

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help implements kong.HelpProvider.
func (*completionCmd) Help() string {
	return `Add one of these lines to the start file of your shell:

    source <(gimbal completion bash)   # ~/.bashrc
    source <(gimbal completion zsh)    # ~/.zshrc, after compinit
    gimbal completion fish | source    # ~/.config/fish/config.fish`
}

func (c *completionCmd) Run(e *env, k *kong.Context) error {
	list := completions(nil, k.Model.Node, nil)
	for i := range list {
		if list[i].path == " help" {
			list[i].words, list[i].files = list[0].words, false
		}
	}
	print := map[string]func(io.Writer, []completion){"bash": printBash, "zsh": printZsh, "fish": printFish}[c.Shell]
	var script bytes.Buffer
	print(&script, list)
	_, err := e.stdout.Write(script.Bytes())
	return err
}

// completion is a command and what may follow it.
type completion struct {
	path  string // such as " data stats"; empty: the program itself
	words []word // names of subcommands, or values of the first argument
	flags []flag
	files bool // arguments may be files
}

// word is something to type, and what it means.
type word struct{ text, help string }

// flag is a flag, and what may follow it.
type flag struct {
	word            // --name
	short  string   // -n; empty: none
	value  bool     // it takes one
	values []string // the values that it takes; empty: any
	files  bool     // its value is a file
}

// names are the ways to write a flag.
func (f flag) names() []string {
	if f.short == "" {
		return []string{f.text}
	}
	return []string{f.text, f.short}
}

// completions appends the commands of a node of kong's model, with the flags of the nodes above it.
func completions(list []completion, n *kong.Node, above []flag) []completion {
	c := completion{flags: above[:len(above):len(above)]}
	for at := n; at.Parent != nil; at = at.Parent {
		c.path = " " + at.Name + c.path
	}
	for _, f := range n.Flags {
		if f.Hidden {
			continue
		}
		g := flag{word: word{"--" + f.Name, firstSentence(f.Help)}, value: !f.IsBool(),
			files: slices.Contains([]string{"PATH", "FILE", "DIR", "CHECKPOINT"}, f.PlaceHolder)}
		if f.Short != 0 {
			g.short = "-" + string(f.Short)
		}
		if f.Enum != "" {
			g.values = strings.Split(f.Enum, ",")
		}
		c.flags = append(c.flags, g)
	}
	for _, child := range n.Children {
		if !child.Hidden {
			c.words = append(c.words, word{child.Name, firstSentence(child.Help)})
		}
	}
	for i, p := range n.Positional {
		c.files = c.files || p.Enum == ""
		if i == 0 && p.Enum != "" {
			for _, v := range strings.Split(p.Enum, ",") {
				c.words = append(c.words, word{v, ""})
			}
		}
	}
	list = append(list, c)
	for _, child := range n.Children {
		list = completions(list, child, c.flags)
	}
	return list
}

// firstSentence is the beginning of a help text, without its full stop.
func firstSentence(help string) string {
	first, _, _ := strings.Cut(help, ". ")
	return strings.TrimSuffix(first, ".")
}
