! SPDX-License-Identifier: Apache-2.0 OR MIT
! One text for the three faces: FACE_MPIF, FACE_MPI or FACE_F08 is defined by the test stage.
#if defined(FACE_F08)
#define USE_MPI use mpi_f08
#define INCLUDE_MPI
#define HANDLE(kind) type(kind)
#define STATUS type(MPI_Status)
#define STATUS_DIM
#define STATUSES_DIM(n) (n)
#define SOURCE_OF(status) status%MPI_SOURCE
#define TAG_OF(status) status%MPI_TAG
#define SOURCE_AT(statuses,i) statuses(i)%MPI_SOURCE
#define TAG_AT(statuses,i) statuses(i)%MPI_TAG
#else
#define HANDLE(kind) integer
#define STATUS integer
#define STATUS_DIM (MPI_STATUS_SIZE)
#define STATUSES_DIM(n) (MPI_STATUS_SIZE, n)
#define SOURCE_OF(status) status(MPI_SOURCE)
#define TAG_OF(status) status(MPI_TAG)
#define SOURCE_AT(statuses,i) statuses(MPI_SOURCE, i)
#define TAG_AT(statuses,i) statuses(MPI_TAG, i)
#if defined(FACE_MPI)
#define USE_MPI use mpi
#define INCLUDE_MPI
#else
#define USE_MPI
#define INCLUDE_MPI include 'mpif.h'
#endif
#endif
