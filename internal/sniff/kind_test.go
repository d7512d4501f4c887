package sniff

import (
	"encoding/binary"
	"math/rand/v2"
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

// TestKind has files by their content.
func TestKind(t *testing.T) {
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
		{zip("archive/data.pkl"), Pickle},
		{zip("arr_0.npy"), "NumPy array"},
		{zip("notes/a.txt"), Archive},
		{"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00]\x94", Pickle},
		{"\x80\x02}q\x00(X\x05\x00", Pickle},
		{"(dp0\nS'text'\np1\n", Pickle},
		{strings.Repeat("a.txt\x00", 42) + "00000ustar\x0000", Archive},
		{"7z\xBC\xAF\x27\x1C\x00\x04", Archive},
		{"Rar!\x1A\x07\x01\x00", Archive},
		{"BZh91AY&SY\x94$|\x0e", packedFile},
		{"\xFD7zXZ\x00\x00\x04", packedFile},
		{"\x04\x22\x4D\x18dp\xb9", packedFile},
		{"\x89PNG\r\n\x1A\n\x00\x00", Image},
		{"\xFF\xD8\xFF\xE0\x00\x10JFIF", Image},
		{"GIF89a\x01\x00", Image},
		{"RIFF\x24\x00\x00\x00WEBPVP8 ", Image},
		{"\x00\x00\x00\x1cftypheic\x00", Image},
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
		{lfsPointer + "v1\noid sha256:4d7a\nsize 12\n", LFSPointer},
		{ids(2, 5000, 50257), IDs},
		{ids(2, 5000, 65), IDs}, // one id a character
		{ids(4, 5000, 150000), IDs},
		{randomBytes(9000), Binary},
		{"a text with one\x00 and nothing else that is strange in it, of more than a hundred and twenty-eight bytes" +
			" so that it could be an array of ids", Binary},
		{strings.Repeat("今天天气很好\x00", 100), Binary},
		{encode(t, "utf-16le", samples["windows-1252"]), "utf-16le" + unmarked},
		{encode(t, "utf-16be", samples["gbk"]), "utf-16be" + unmarked},
		{encode(t, "utf-32le", samples["windows-1252"]), "utf-32le" + unmarked},
		{"\xFF\xFEh\x00i\x00", Binary}, // what a mark says is the caller's to know
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
		got := Kind([]byte(c.content), int64(len(c.content)))
		if got != c.kind {
			t.Errorf("%.30q is %q, want %q", c.content, got, c.kind)
		}
	}
}
