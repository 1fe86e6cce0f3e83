package main

import (
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/sigstore/rekor/pkg/generated/client/entries"
	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/types"
	"github.com/sigstore/rekor/pkg/util"
	"github.com/sigstore/sigstore/pkg/signature"
)

const logHost = "rekor.example"

// CreateLogEntry adds an entry to the transparency log, as Rekor's API does. The entry has a signed
// timestamp and a proof that the log includes it.
func (s *sigstore) CreateLogEntry(params *entries.CreateLogEntryParams, _ ...entries.ClientOption) (*entries.CreateLogEntryCreated, error) {
	versioned, err := types.CreateVersionedEntry(params.ProposedEntry)
	if err != nil {
		return nil, err
	}
	body, err := types.CanonicalizeEntry(params.Context, versioned)
	if err != nil {
		return nil, err
	}
	id, err := keyID(s.log)
	if err != nil {
		return nil, err
	}
	signer, err := signature.LoadECDSASigner(s.log, crypto.SHA256)
	if err != nil {
		return nil, err
	}
	index, now, logID := int64(s.entries.Size()), time.Now().Unix(), hex.EncodeToString(id[:])
	s.entries.AppendData(body)
	entry := models.LogEntryAnon{Body: base64.StdEncoding.EncodeToString(body), IntegratedTime: &now, LogIndex: &index, LogID: &logID,
		Verification: &models.LogEntryAnonVerification{}}
	// This is the canonical form of the JSON, because the keys are sorted and no value needs escapes.
	promise, err := json.Marshal(map[string]any{"body": entry.Body, "integratedTime": now, "logID": logID, "logIndex": index})
	if err != nil {
		return nil, err
	}
	if entry.Verification.SignedEntryTimestamp, err = signer.SignMessage(strings.NewReader(string(promise))); err != nil {
		return nil, err
	}
	if entry.Verification.InclusionProof, err = s.proof(params, signer); err != nil {
		return nil, err
	}
	uuid := hex.EncodeToString(s.entries.LeafHash(uint64(index)))
	return &entries.CreateLogEntryCreated{ETag: uuid, Payload: models.LogEntry{uuid: entry}}, nil
}

// proof returns the proof that the log includes its newest entry.
func (s *sigstore) proof(params *entries.CreateLogEntryParams, signer signature.Signer) (*models.InclusionProof, error) {
	size := s.entries.Size()
	nodes, err := s.entries.InclusionProof(size-1, size)
	if err != nil {
		return nil, err
	}
	const treeID = 1
	signed, err := util.CreateAndSignCheckpoint(params.Context, logHost, treeID, size, s.entries.Hash(), signer)
	if err != nil {
		return nil, err
	}
	index, length, top, checkpoint := int64(size-1), int64(size), hex.EncodeToString(s.entries.Hash()), string(signed)
	proof := &models.InclusionProof{LogIndex: &index, TreeSize: &length, RootHash: &top, Checkpoint: &checkpoint, Hashes: []string{}}
	for _, node := range nodes {
		proof.Hashes = append(proof.Hashes, hex.EncodeToString(node))
	}
	return proof, nil
}

// GetLogEntryByUUID always fails, because CreateLogEntry never refers to an existing entry.
func (s *sigstore) GetLogEntryByUUID(*entries.GetLogEntryByUUIDParams, ...entries.ClientOption) (*entries.GetLogEntryByUUIDOK, error) {
	return nil, errors.New("the log does not return entries")
}
