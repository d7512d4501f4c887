package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// completionScripts make the shells ask the program that is typed, by its hidden command "complete". Where that has no
// word to offer, they offer files.
var completionScripts = map[string]string{
	"bash": `_gimbal() {
	local IFS=$'\n' cur=${COMP_WORDS[COMP_CWORD]#=}
	local words=$("${COMP_WORDS[0]}" complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f1)
	COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _gimbal gimbal
`,
	"zsh": `#compdef gimbal
_gimbal() {
	local -a list=("${(@f)$("${words[1]}" complete "${(@)words[2,CURRENT]}" 2>/dev/null | sed 's/:/\\:/g; s/	/:/')}")
	if [[ -n $list ]]; then _describe gimbal list; else _files; fi
}
compdef _gimbal gimbal
`,
	"fish": `function __gimbal
	set -l typed (commandline -opc)
	$typed[1] complete $typed[2..] (commandline -ct) 2>/dev/null
end
complete -c gimbal -f -a '(__gimbal)'
complete -c gimbal -n 'not __gimbal | read -l word' -F
`}

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

func (c *completionCmd) Run(e *env) error {
	_, err := io.WriteString(e.stdout, completionScripts[c.Shell])
	return err
}

type completeCmd struct {
	Words []string `arg:"" optional:""`
}

func (c *completeCmd) Run(e *env, k *kong.Context) error {
	for _, word := range completions(k.Model.Node, c.Words) {
		fmt.Fprintln(e.stdout, word)
	}
	return nil
}

// completions are the words that may stand in place of the last one, each with a tab and its help, if any: commands,
// flags, or the values of a flag, as kong's model has them. There is none where a file, a number or a text may stand.
func completions(root *kong.Node, words []string) (list []string) {
	last := ""
	if n := len(words) - 1; n >= 0 {
		words, last = words[:n], strings.TrimPrefix(words[n], "=")
	}
	words = slices.DeleteFunc(words, func(word string) bool { return word == "=" }) // bash takes it for a word
	at, flags := root, root.Flags
	var value *kong.Flag // whose value comes next
	for _, word := range words {
		known := value == nil
		value = nil
		for _, f := range flags {
			if known && (word == "--"+f.Name || f.Short != 0 && word == "-"+string(f.Short)) && !f.IsBool() {
				value = f
			}
		}
		for _, child := range at.Children {
			if known && child.Name == word {
				at, flags = child, append(flags[:len(flags):len(flags)], child.Flags...)
			}
		}
	}
	add := func(word, help string) {
		first, _, _ := strings.Cut(help, ". ")
		list = append(list, strings.TrimSuffix(word+"\t"+strings.TrimSuffix(first, "."), "\t"))
	}
	enum := ""
	switch {
	case value != nil:
		enum = value.Enum
	case strings.HasPrefix(last, "-"):
		for _, f := range flags {
			add("--"+f.Name, f.Help)
		}
	case at.Name == "help":
		at = root
		fallthrough
	default:
		for _, child := range at.Children {
			if !child.Hidden {
				add(child.Name, child.Help)
			}
		}
		if len(at.Positional) > 0 {
			enum = at.Positional[0].Enum
		}
	}
	if enum != "" {
		for _, word := range strings.Split(enum, ",") {
			add(word, "")
		}
	}
	return list
}
