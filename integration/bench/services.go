package main

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/internal/lab"
)

const (
	// services is the number of images on one base that are promoted one after another.
	services = 30
	// serviceSize is the size of half of a service's own layer after compression. One half cannot
	// be compressed, and the other half is program text.
	serviceSize = 100_000
)

// These are the stages of the services.
const (
	firstService  = "first service"
	otherServices = "other services"
)

// services promotes images with the same base to repositories of their own, one after another. The
// base is the image of p. Each image has a small layer of its own.
func (p *place) services(ctx context.Context) (*Sample, error) {
	for i := range services {
		if err := p.pushService(ctx, i); err != nil {
			return nil, fmt.Errorf("pushing service %d: %w", i, err)
		}
	}
	p.staging.ResetRequests()
	all := &Sample{}
	for i := range services {
		one, err := p.promote(ctx, serviceName(i))
		if err != nil {
			return nil, fmt.Errorf("promoting service %d: %w", i, err)
		}
		all.addRun(one, otherServices)
		if i == 0 {
			all.Stages[0].Name = firstService
		}
	}
	return all, nil
}

// addRun adds another run, as a stage with this name.
func (s *Sample) addRun(one *Sample, stage string) {
	s.Seconds += one.Seconds
	s.CPUSeconds += one.CPUSeconds
	s.Peak = max(s.Peak, one.Peak)
	s.Read += one.Read
	s.Written += one.Written
	s.WrittenImage += one.WrittenImage
	s.Stages = append(s.Stages, Stage{Name: stage, Seconds: one.Seconds, CPUSeconds: one.CPUSeconds, Peak: one.Peak})
}

func serviceName(i int) string { return fmt.Sprintf("service-%d:1", i) }

// pushService pushes the i-th service to a repository of its own in the staging registry. The
// registry mounts the layers of the base, so that they need not be sent again.
func (p *place) pushService(ctx context.Context, i int) error {
	ref, err := name.ParseReference(p.staging.Ref("team/app:1"))
	if err != nil {
		return err
	}
	base, err := remote.Image(ref, remote.WithContext(ctx), remote.WithAuth(p.staging.Authenticator()))
	if err != nil {
		return err
	}
	layers, err := base.Layers()
	if err != nil {
		return err
	}
	text := newSource(uint64(1000 + i)) // #nosec G115 -- i is not negative
	own, err := layer([]lab.File{
		{Path: "srv/service/data.bin", Content: text.random(serviceSize)},
		{Path: "srv/service/main.js", Content: text.part(serviceSize * chunks * chunkSize / (assets * assetSize))},
	})
	if err != nil {
		return err
	}
	img, err := stacked(append(layers, own))
	if err != nil {
		return err
	}
	_, err = p.staging.Push(ctx, "team/"+serviceName(i), img)
	return err
}
