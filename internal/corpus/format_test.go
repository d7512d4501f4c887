package corpus

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
)

// ids writes numbers as nanoGPT writes its token ids, or those of four bytes.
func ids(width, n, below int) string {
	r := rand.New(rand.NewPCG(1, 2))
	var b []byte
	for range n {
		id := r.IntN(below)
		if r.IntN(4) == 0 {
			id = r.IntN(256)
		}
		if b = binary.LittleEndian.AppendUint16(b, uint16(id)); width == 4 {
			b = binary.LittleEndian.AppendUint16(b, uint16(id>>16))
		}
	}
	return string(b)
}

func randomBytes(n int) string {
	r := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

// TestNotText has files by their content, with names that say nothing or something else.
func TestNotText(t *testing.T) {
	zip := func(name string) string {
		return "PK\x03\x04\x14\x00\x06\x00\x08\x00" + strings.Repeat("\x00", 16) + name
	}
	for _, c := range []struct{ content, kind string }{
		{"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", "PDF file"},
		{`{\rtf1\ansi Hello}`, "RTF file"},
		{"%!PS-Adobe-3.0\n", "PostScript file"},
		{"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1\x00\x00", "old Word or Excel file"},
		{zip("[Content_Types].xml..word/document.xml"), "Word document"},
		{zip("xl/workbook.xml"), "spreadsheet"},
		{zip("mimetypeapplication/vnd.oasis.opendocument.textPK"), "OpenDocument file"},
		{zip("mimetypeapplication/epub+zipPK"), "EPUB book"},
		{zip("archive/data.pkl"), pickleFile},
		{zip("arr_0.npy"), "NumPy array"},
		{zip("notes/a.txt"), archiveFile},
		{"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00]\x94", pickleFile},
		{"\x80\x02}q\x00(X\x05\x00", pickleFile},
		{"(dp0\nS'text'\np1\n", pickleFile},
		{strings.Repeat("a.txt\x00", 42) + "00000ustar\x0000", archiveFile},
		{"7z\xBC\xAF\x27\x1C\x00\x04", archiveFile},
		{"Rar!\x1A\x07\x01\x00", archiveFile},
		{"BZh91AY&SY\x94$|\x0e", packedFile},
		{"\xFD7zXZ\x00\x00\x04", packedFile},
		{"\x04\x22\x4D\x18dp\xb9", packedFile},
		{"\x89PNG\r\n\x1A\n\x00\x00", imageFile},
		{"\xFF\xD8\xFF\xE0\x00\x10JFIF", imageFile},
		{"GIF89a\x01\x00", imageFile},
		{"RIFF\x24\x00\x00\x00WEBPVP8 ", imageFile},
		{"\x00\x00\x00\x1cftypheic\x00", imageFile},
		{"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00", audioFile},
		{"ID3\x03\x00\x00\x00", audioFile},
		{"OggS\x00\x02", audioFile},
		{"\x00\x00\x00\x18ftypmp42\x00", videoFile},
		{"\x7FELF\x02\x01\x01\x00", programFile},
		{"MZ\x90\x00\x03\x00", programFile},
		{"SQLite format 3\x00\x10\x00", "SQLite database"},
		{"\x93NUMPY\x01\x00v\x00{'descr': '<u2'", "NumPy array"},
		{"ARROW1\x00\x00\xff\xff\xff\xff", arrowFile},
		{"\xFF\xFF\xFF\xFF\x00\x02\x00\x00", arrowFile},
		{"\x89HDF\r\n\x1A\n\x00", "HDF5 file"},
		{"GGUF\x03\x00\x00\x00", "GGUF model"},
		{"\x02\x00\x00\x00\x00\x00\x00\x00{}\x00\x00", "safetensors file"},
		{"PAR1\x15\x04\x00", parquetFile},
		{lfsPointer + "v1\noid sha256:4d7a\nsize 12\n", lfsFile},
		{ids(2, 5000, 50257), idsFile},
		{ids(2, 5000, 65), idsFile}, // one id a character
		{ids(4, 5000, 150000), idsFile},
		{randomBytes(9000), binaryFile},
		{"a text with one\x00 and nothing else that is strange in it, of more than a hundred and twenty-eight bytes" +
			" so that it could be an array of ids", binaryFile},
		{strings.Repeat("今天天气很好\x00", 100), binaryFile},
		{encode(t, "utf-16le", samples["windows-1252"]), "utf-16le" + unmarked},
		{encode(t, "utf-16be", samples["gbk"]), "utf-16be" + unmarked},
		{encode(t, "utf-32le", samples["windows-1252"]), "utf-32le" + unmarked},
		{"\xFF\xFEh\x00i\x00", ""}, // marked
		{"<!DOCTYPE html><html><body>PDF</body></html>", ""},
		{"<?xml version=\"1.0\"?>\n<a/>", ""},
		{"MZ and BM and ID3 and GGUF are words", ""},
		{"GGUF is a format of files", ""},
		{"BZh9 is how bzip2 begins", ""},
		{"PK is a name", ""},
		{"Rar! they cried", ""},
		{"(dp is not a pickle", ""},
		{"{\\rtl", ""},
		{"", ""},
	} {
		path := write(t, t.TempDir(), "notes.txt", c.content)
		_, err := Discover([]string{path}, Options{})
		fault := new(Error)
		switch {
		case c.kind == "" && err != nil:
			t.Errorf("%.30q: %v", c.content, err)
		case c.kind != "" && (!errors.As(err, &fault) || fault.What != "not text: "+c.kind || fault.Advice == ""):
			t.Errorf("%.30q: %v, want %s", c.content, err, c.kind)
		}
		if c.kind == "" {
			continue
		}
		dir := filepath.Dir(path)
		write(t, dir, "ok.md", "text")
		found := discover(t, Options{}, dir)
		if f := found.Findings(); len(found.Sources) != 1 || len(f) != 1 ||
			f[0].Text != "left out: 1 "+c.kind+" (notes.txt)" || f[0].Warn != (c.kind == lfsFile) {
			t.Errorf("%.30q in a folder: %+v", c.content, f)
		}
	}
}

// TestPackedByContent reads packed text whatever its name, and looks into it.
func TestPackedByContent(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"a.txt": "text", "b": "more text", "c.gz": "%PDF-1.7\n", "d.tar.gz": "text",
		"e.dat": "\xFF\xFEh\x00i\x00"} {
		write(t, dir, name, gzipped(t, content))
	}
	c := discover(t, Options{}, dir)
	texts, _, err := readAll(c, nil)
	if err != nil || strings.Join(texts, "|") != "text|more text|hi" {
		t.Errorf("%q, %v", texts, err)
	}
	if c.Skipped["PDF file"] != 1 || c.Skipped[archiveFile] != 1 || len(c.Skipped) != 2 {
		t.Errorf("skipped %v", c.Skipped)
	}
	twice := write(t, dir, "f.txt", gzipped(t, gzipped(t, "text")))
	if _, err := Discover([]string{twice}, Options{}); err == nil || !strings.Contains(err.Error(), "packed twice") {
		t.Errorf("packed twice: %v", err)
	}
}
