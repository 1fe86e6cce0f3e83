package layers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// shape lists the known keys of a JSON object, each with the shape of its value. An object with a
// nil shape may have any key, but each key only once.
type shape map[string]shape

var (
	descriptorShape = shape{"mediaType": nil, "digest": nil, "size": nil, "urls": nil, "data": nil, "artifactType": nil}
	childShape      = shape{"mediaType": nil, "digest": nil, "size": nil, "urls": nil, "data": nil, "artifactType": nil,
		"annotations": nil, "platform": {"architecture": nil, "os": nil, "os.version": nil, "variant": nil}}
	manifestShape = shape{"schemaVersion": nil, "mediaType": nil, "artifactType": nil, "config": descriptorShape,
		"layers": descriptorShape, "subject": descriptorShape, "manifests": childShape, "annotations": nil}
	configShape = shape{"architecture": nil, "os": nil, "os.version": nil, "variant": nil, "config": nil,
		"rootfs": {"type": nil, "diff_ids": nil}}
	statementShape = shape{"_type": nil, "predicateType": nil, "predicate": nil, "subject": {"name": nil, "digest": {"sha256": nil}}}
)

// DecodeManifest parses the manifest of an image or an index. Unlike encoding/json, it refuses
// repeated keys and known keys in another letter case.
func DecodeManifest(raw []byte, into any) error { return decode(raw, manifestShape, into) }

// DecodeConfig parses the config of an image, as strictly as DecodeManifest.
func DecodeConfig(raw []byte) (*v1.ConfigFile, error) {
	var config v1.ConfigFile
	if err := decode(raw, configShape, &config); err != nil {
		return nil, err
	}
	return &config, nil
}

// DecodeStatement parses an in-toto statement, as strictly as DecodeManifest.
func DecodeStatement(raw []byte, into any) error { return decode(raw, statementShape, into) }

// decode parses a document and refuses it if two parsers could read it differently. encoding/json
// uses the last of repeated keys and ignores letter case. Other parsers use the first key, or
// require the exact spelling. A container runtime could then find other layers than the scanned
// ones.
func decode(raw []byte, known shape, into any) error {
	if err := json.Unmarshal(raw, into); err != nil {
		return err
	}
	return unambiguous(json.NewDecoder(bytes.NewReader(raw)), known)
}

// unambiguous returns an error if the next value of dec has a repeated key, or a known key in
// another letter case. Its recursion is bounded, because json.Unmarshal has accepted the document
// and limits its depth.
func unambiguous(dec *json.Decoder, known shape) error {
	token, err := dec.Token()
	if err != nil {
		return err
	}
	open, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	seen := map[string]bool{}
	for dec.More() {
		inner := known // all elements of an array have the shape of the array
		if open == '{' {
			token, err := dec.Token()
			if err != nil {
				return err
			}
			key, ok := token.(string)
			if !ok {
				return errors.New("a key of a JSON object is not a string")
			}
			if seen[key] {
				return fmt.Errorf("the key %q is repeated", key)
			}
			seen[key] = true
			if inner, ok = known[key]; !ok {
				for k := range known {
					if strings.EqualFold(k, key) {
						return fmt.Errorf("the key %[2]q must be spelled %[1]q", k, key)
					}
				}
			}
		}
		if err := unambiguous(dec, inner); err != nil {
			return err
		}
	}
	_, err = dec.Token() // the closing delimiter
	return err
}
