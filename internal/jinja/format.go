package jinja

import "strings"

// printf is format % values, with %s, %d and %%.
func (s *scope) printf(format string, v any) string {
	args, ok := v.(tuple)
	if !ok {
		args = tuple{v}
	}
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(format, "%")
		s.made(len(before))
		if out.WriteString(before); !found {
			break
		}
		verb := rest[:min(1, len(rest))]
		switch format = rest[len(verb):]; {
		case verb == "%":
			out.WriteString(verb)
			continue
		case len(args) == 0 || verb != "s" && verb != "d":
			failf("the format %%%.20s has no value, or is not known here", rest)
		case verb == "d":
			whole(args[0], "a value of %d")
		}
		text := s.show(args[0])
		s.made(len(text))
		out.WriteString(text)
		args = args[1:]
	}
	if len(args) > 0 {
		failf("%d values too many for a format", len(args))
	}
	return out.String()
}

// dates are the codes of strftime that are known, as layouts of Go.
var dates = map[byte]string{'Y': "2006", 'm': "01", 'd': "02", 'b': "Jan", 'B': "January", 'y': "06", 'a': "Mon",
	'A': "Monday", 'H': "15", 'M': "04", 'S': "05", 'I': "03", 'p': "PM", 'j': "002"}

// strftime writes the time of the render.
func (m *machine) strftime(format string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(format, "%")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		if rest == "" {
			failf("strftime_now ends with a single %%")
		}
		switch layout, known := dates[rest[0]]; {
		case rest[0] == '%':
			b.WriteByte('%')
		case known:
			b.WriteString(m.limits.Now.Format(layout))
		default:
			failf("strftime_now does not know %%%c", rest[0])
		}
		format = rest[1:]
		m.made(len(before) + 16)
	}
}
