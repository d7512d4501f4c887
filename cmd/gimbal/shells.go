package main

import (
	"fmt"
	"io"
	"strings"
)

// The scripts of the three shells do the same: they walk the words before the cursor to find the command, offer the
// values of a flag that stands before the cursor, else the flags of the command, else its words and files.

// printBash prints a completion script for bash.
func printBash(w io.Writer, list []completion) {
	fmt.Fprintf(w, `# bash completion for gimbal, from "gimbal completion bash"
_gimbal() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} at= word words= flags=
	COMPREPLY=()
	if [[ $cur == = ]]; then cur=
	elif [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}
	fi
	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		case "$at $word" in
		%s) at="$at $word" ;;
		esac
	done
	case "$at:$prev" in
`, alternatives(paths(list), single))
	for _, c := range list {
		for _, f := range c.flags {
			pattern := alternatives(prefixed(c.path+":", f.names()), single)
			switch {
			case len(f.values) > 0:
				fmt.Fprintf(w, "\t%s) COMPREPLY=($(compgen -W %s -- \"$cur\")); return ;;\n", pattern,
					single(strings.Join(f.values, " ")))
			case f.value && f.files:
				fmt.Fprintf(w, "\t%s) return ;;\n", pattern)
			case f.value:
				fmt.Fprintf(w, "\t%s) compopt +o default; return ;;\n", pattern)
			}
		}
	}
	fmt.Fprint(w, "\tesac\n\tcase \"$at\" in\n")
	for _, c := range list {
		var words, flags []string
		for _, word := range c.words {
			words = append(words, word.text)
		}
		for _, f := range c.flags {
			flags = append(flags, f.names()...)
		}
		files := ""
		if !c.files {
			files = " compopt +o default;"
		}
		fmt.Fprintf(w, "\t%s) words=%s flags=%s;%s ;;\n", single(c.path), single(strings.Join(words, " ")),
			single(strings.Join(flags, " ")), files)
	}
	fmt.Fprint(w, `	esac
	[[ $cur == -* ]] && words=$flags
	COMPREPLY=($(compgen -W "$words" -- "$cur"))
} 2>/dev/null
complete -o default -F _gimbal gimbal
`)
}

// printZsh prints a completion script for zsh.
func printZsh(w io.Writer, list []completion) {
	fmt.Fprintf(w, `#compdef gimbal
# zsh completion for gimbal, from "gimbal completion zsh"
_gimbal() {
	local cur=${words[CURRENT]} prev=${words[CURRENT-1]} at= word files=
	local -a list
	for word in "${(@)words[2,CURRENT-1]}"; do
		case "$at $word" in
		(%s) at="$at $word" ;;
		esac
	done
	case "$at:$prev" in
`, alternatives(paths(list), single))
	for _, c := range list {
		for _, f := range c.flags {
			pattern := alternatives(prefixed(c.path+":", f.names()), single)
			switch {
			case len(f.values) > 0:
				fmt.Fprintf(w, "\t(%s) compadd -- %s; return ;;\n", pattern, strings.Join(f.values, " "))
			case f.value && f.files:
				fmt.Fprintf(w, "\t(%s) _files; return ;;\n", pattern)
			case f.value:
				fmt.Fprintf(w, "\t(%s) return ;;\n", pattern)
			}
		}
	}
	fmt.Fprint(w, "\tesac\n\tcase \"$at:$cur\" in\n")
	for _, c := range list {
		var words, flags []string
		for _, word := range c.words {
			words = append(words, described(word))
		}
		for _, f := range c.flags {
			flags = append(flags, described(f.word))
		}
		fmt.Fprintf(w, "\t(%s:-*) list=(%s) ;;\n", single(c.path), strings.Join(flags, " "))
		files := ""
		if c.files {
			files = "files=1"
		}
		fmt.Fprintf(w, "\t(%s:*) list=(%s) %s ;;\n", single(c.path), strings.Join(words, " "), files)
	}
	fmt.Fprint(w, `	esac
	(( ${#list} )) && _describe gimbal list
	[[ -n $files ]] && _files
}
compdef _gimbal gimbal
`)
}

// described is a word with its help, as zsh's _describe takes it.
func described(w word) string {
	return single(w.text + ":" + strings.ReplaceAll(w.help, ":", `\:`))
}

// printFish prints a completion script for fish.
func printFish(w io.Writer, list []completion) {
	fmt.Fprintf(w, `# fish completion for gimbal, from "gimbal completion fish"
function __gimbal_at
	set -l at ''
	for word in (commandline -opc)[2..]
		switch "$at $word"
			case %s
				set at "$at $word"
		end
	end
	test "$at" = "$argv[1]"
end
complete -c gimbal -f
`, strings.Join(mapped(paths(list), fishQuote), " "))
	for _, c := range list {
		at := "complete -c gimbal -n " + fishQuote("__gimbal_at "+fishQuote(c.path))
		if c.files {
			fmt.Fprintln(w, at, "-F")
		}
		for _, word := range c.words {
			fmt.Fprintln(w, at, "-a", word.text, "-d", fishQuote(word.help))
		}
		for _, f := range c.flags {
			line := at + " -l " + strings.TrimPrefix(f.text, "--")
			if f.short != "" {
				line += " -s " + strings.TrimPrefix(f.short, "-")
			}
			switch {
			case len(f.values) > 0:
				line += " -x -a " + fishQuote(strings.Join(f.values, " "))
			case f.value && f.files:
				line += " -r -F"
			case f.value:
				line += " -x"
			}
			fmt.Fprintln(w, line, "-d", fishQuote(f.help))
		}
	}
}

// paths are those of the commands.
func paths(list []completion) (all []string) {
	for _, c := range list[1:] {
		all = append(all, c.path)
	}
	return all
}

// single quotes a word for bash and zsh.
func single(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// fishQuote quotes a word for fish.
func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}

func mapped(list []string, f func(string) string) (out []string) {
	for _, s := range list {
		out = append(out, f(s))
	}
	return out
}

func prefixed(prefix string, list []string) []string {
	return mapped(list, func(s string) string { return prefix + s })
}

// alternatives is a pattern of a case statement that matches any of the words.
func alternatives(list []string, quoted func(string) string) string {
	return strings.Join(mapped(list, quoted), "|")
}
