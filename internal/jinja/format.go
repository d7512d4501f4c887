package jinja

import (
	"fmt"
	"strconv"
	"strings"
)

// printf is format % values, with %s, %d, %r, %f and %%.
func (s *scope) printf(format string, v any) string {
	args, ok := v.(tuple)
	if !ok {
		args = tuple{v}
	}
	var b strings.Builder
	put := func(t string) {
		s.made(len(t))
		b.WriteString(t)
	}
	used := 0
	for {
		before, rest, found := strings.Cut(format, "%")
		if put(before); !found {
			break
		}
		if strings.HasPrefix(rest, "%") {
			put("%")
			format = rest[1:]
			continue
		}
		n := strings.IndexFunc(rest, func(r rune) bool { return !strings.ContainsRune("0123456789.-", r) })
		if n < 0 || n > 6 || used == len(args) {
			failf("the format %%%.20s has no value, or is not known here", rest)
		}
		flags, verb, arg := rest[:n], rest[n], args[used]
		format, used = rest[n+1:], used+1
		f, i, isInt, isNumber := number(arg)
		switch {
		case verb == 's' && !strings.Contains(flags, "."):
			put(fmt.Sprintf("%"+flags+"s", s.show(arg)))
		case verb == 'r' && flags == "":
			var r strings.Builder
			s.repr(&r, arg)
			put(r.String())
		case verb == 'd' && isNumber && !strings.Contains(flags, "."):
			if !isInt {
				i = int(f)
			}
			put(fmt.Sprintf("%"+flags+"d", i))
		case verb == 'f' && isNumber:
			put(fmt.Sprintf("%"+flags+"f", f))
		default:
			failf("the format %%%s%c of %s is not known here", flags, verb, kindOf(arg))
		}
	}
	if used < len(args) {
		failf("%d values for %d places of a format", len(args), used)
	}
	return b.String()
}

// format is str.format with {}, {0} and {name}.
func (s *scope) format(format string, a values) string {
	var b strings.Builder
	next := 0
	for {
		i := strings.IndexAny(format, "{}")
		if i < 0 {
			break
		}
		s.made(i)
		b.WriteString(format[:i])
		c := format[i]
		if format = format[i+1:]; strings.HasPrefix(format, string(c)) {
			b.WriteByte(c)
			format = format[1:]
			continue
		}
		name, rest, found := strings.Cut(format, "}")
		if c == '}' || !found || strings.ContainsAny(name, "{!:.[") {
			failf("the format {%.20s is not known here", format)
		}
		format = rest
		n, err := strconv.Atoi(name)
		if name == "" {
			n, err, next = next, nil, next+1
		}
		v, ok := a.named.get(name)
		if err == nil {
			if ok = n >= 0 && n < len(a.list); ok {
				v = a.list[n]
			}
		}
		if !ok {
			failf("a format has no value {%.20s}", name)
		}
		t := s.show(v)
		s.made(len(t))
		b.WriteString(t)
	}
	return b.String() + format
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
