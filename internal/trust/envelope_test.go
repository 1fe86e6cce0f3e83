package trust

import (
	"encoding/base64"
	"reflect"
	"strings"
	"testing"
)

// TestFastPathForEnvelopesAgreesWithTheDecoder checks that the fast path and the JSON decoder,
// which other programs use, return the same payload and signatures.
func TestFastPathForEnvelopesAgreesWithTheDecoder(t *testing.T) {
	body := base64.StdEncoding.EncodeToString([]byte(`{"_type":"x"}`))
	plain := plainStart + body + `","signatures":[{"keyid":"","sig":"c2ln"}]}`
	for name, c := range map[string]struct {
		envelope string
		short    bool
	}{
		"plain":              {plain, true},
		"no signature":       {plainStart + body + `","signatures":[]}`, true},
		"null":               {plainStart + body + `","signatures":null}`, true},
		"two signatures":     {plainStart + body + `","signatures":[{"keyid":"a","sig":"c2ln"},{"keyid":"b","sig":"eA=="}]}`, true},
		"empty":              {plainStart + `","signatures":[{"keyid":"","sig":"c2ln"}]}`, true},
		"odd base64":         {plainStart + `abc","signatures":[{"keyid":"","sig":"c2ln"}]}`, true},
		"a second payload":   {strings.Replace(plain, `,"signatures"`, `,"payload":"eA==","signatures"`, 1), false},
		"an empty second":    {strings.Replace(plain, `,"signatures"`, `,"payload":"","signatures"`, 1), false},
		"in other letters":   {strings.Replace(plain, `,"signatures"`, `,"PAYLOAD":"eA==","signatures"`, 1), false},
		"escaped":            {strings.Replace(plain, `,"signatures"`, `,"p\u0061yload":"eA==","signatures"`, 1), false},
		"a second type":      {strings.Replace(plain, `,"signatures"`, `,"payloadType":"x","signatures"`, 1), false},
		"second signatures":  {strings.TrimSuffix(plain, "}") + `,"signatures":[]}`, false},
		"a bundle":           {strings.TrimSuffix(plain, "}") + `,"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}`, false},
		"an inner envelope":  {strings.TrimSuffix(plain, "}") + `,"dsseEnvelope":{}}`, false},
		"certified":          {strings.TrimSuffix(plain, "}") + `,"verificationMaterial":{"certificate":{}}}`, false},
		"something unknown":  {strings.TrimSuffix(plain, "}") + `,"x":1}`, false},
		"a line end behind":  {plain + "\n", false},
		"more behind":        {plain + "{}", false},
		"cut off":            {plain[:len(plain)-1], false},
		"cut off in payload": {plainStart + body, false},
		"spaces":             {strings.Replace(plain, ":", ": ", 1), false},
		"escapes":            {strings.Replace(plain, body, body[:4]+`\u0041`+body[4:], 1), false},
		"a line end within":  {strings.Replace(plain, body, body[:4]+"\n"+body[4:], 1), false},
		"an escaped one":     {strings.Replace(plain, body, body[:4]+`\n`+body[4:], 1), false},
		"another type":       {strings.Replace(plain, "in-toto", "other", 1), false},
		"another order":      {`{"payload":"` + body + `","payloadType":"` + payloadType + `","signatures":[]}`, false},
		"no key id":          {strings.Replace(plain, `"keyid":"",`, "", 1), false},
		"no UTF-8":           {strings.Replace(plain, `"keyid":""`, "\"keyid\":\"\xff\"", 1), false},
		"nothing":            {"", false},
	} {
		short, ok := parsePlain(Envelope(c.envelope))
		if ok != c.short {
			t.Errorf("%s: read the short way: %t", name, ok)
		}
		want, err := parseWire(Envelope(c.envelope))
		if ok && (err != nil || !reflect.DeepEqual(want, wireEnvelope{Envelope: short})) {
			t.Errorf("%s: got %+v, want %+v, %v", name, short, want, err)
		}
		got, gerr := parseEnvelope(Envelope(c.envelope))
		if !reflect.DeepEqual(got, want) || (gerr == nil) != (err == nil) {
			t.Errorf("%s: got %+v, %v, want %+v, %v", name, got, gerr, want, err)
		}
	}
	if _, ok := parsePlain(Envelope(strings.Replace(plain, `"keyid":""`, `"keyid":"`+strings.Repeat("x", maxPlainEnd)+`"`, 1))); ok {
		t.Error("a long end was read the short way")
	}
}
