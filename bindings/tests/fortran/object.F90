! SPDX-License-Identifier: Apache-2.0 OR MIT
! Communicators, groups, topologies, infos and the environment.
#include "face.h"
#include "checks.h"
program object
  use checks
  USE_MPI
  implicit none
  INCLUDE_MPI
  integer :: rank, ranks, ierror, i

  call before()
  call MPI_Comm_rank(MPI_COMM_WORLD, rank, ierror)
  call MPI_Comm_size(MPI_COMM_WORLD, ranks, ierror)
  call groups()
  call communicators()
  call later()
  call between()
  call grids()
  call graphs()
  call infos()
  call environment()
  call MPI_Finalize(ierror)
  call after()
  if (rank == 0) print '(a)', 'ok'

contains

  subroutine before()
    logical :: flag
    integer :: provided, level, version, subversion
    call MPI_Initialized(flag, ierror)
    call expect(.not. flag, 'MPI_Initialized before MPI_Init')
    call MPI_Get_version(version, subversion, ierror)
    call expect(version == MPI_VERSION .and. subversion == MPI_SUBVERSION, 'MPI_Get_version')
    call MPI_Init_thread(MPI_THREAD_MULTIPLE, provided, ierror)
    call expect_equal(provided, MPI_THREAD_MULTIPLE, 'MPI_Init_thread')
    call MPI_Query_thread(level, ierror)
    call expect_equal(level, provided, 'MPI_Query_thread')
    call MPI_Is_thread_main(flag, ierror)
    call expect(flag, 'MPI_Is_thread_main')
    call MPI_Initialized(flag, ierror)
    call expect(flag, 'MPI_Initialized')
  end subroutine

  subroutine after()
    logical :: flag
    call MPI_Finalized(flag, ierror)
    call expect(flag, 'MPI_Finalized')
  end subroutine

  subroutine groups()
    HANDLE(MPI_Group) :: world, even, odd, none, all
    integer :: size, result, evens(ranks), there(ranks), ranges(3, 1)
    call MPI_Comm_group(MPI_COMM_WORLD, world, ierror)
    call MPI_Group_size(world, size, ierror)
    call expect_equal(size, ranks, 'MPI_Group_size')
    evens = [(2 * i, i = 0, ranks - 1)]
    size = (ranks + 1) / 2
    call MPI_Group_incl(world, size, evens, even, ierror)
    call MPI_Group_excl(world, size, evens, odd, ierror)
    call MPI_Group_translate_ranks(even, size, [(i, i = 0, size - 1)], world, there, ierror)
    call expect_all(there(1:size), evens(1:size), 'MPI_Group_translate_ranks')
    call MPI_Group_rank(even, result, ierror)
    call expect_equal(result, merge(rank / 2, MPI_UNDEFINED, mod(rank, 2) == 0), 'MPI_Group_rank')
    call MPI_Group_intersection(even, odd, none, ierror)
    call expect(none == MPI_GROUP_EMPTY, 'MPI_Group_intersection')
    call MPI_Group_union(even, odd, all, ierror)
    call MPI_Group_compare(all, world, result, ierror)
    call expect_equal(result, merge(MPI_IDENT, MPI_SIMILAR, ranks < 3), 'MPI_Group_compare')
    call MPI_Group_free(all, ierror)
    call expect(all == MPI_GROUP_NULL, 'MPI_Group_free')
    ranges(:, 1) = [ranks - 1, 0, -1]
    call MPI_Group_range_incl(world, 1, ranges, all, ierror)
    call MPI_Group_rank(all, result, ierror)
    call expect_equal(result, ranks - 1 - rank, 'MPI_Group_range_incl backwards')
    call MPI_Group_free(all, ierror)
    call MPI_Group_range_excl(world, 1, ranges, all, ierror)
    call expect(all == MPI_GROUP_EMPTY, 'MPI_Group_range_excl of everyone')
    call MPI_Group_difference(world, odd, all, ierror)
    call MPI_Group_compare(all, even, result, ierror)
    call expect_equal(result, MPI_IDENT, 'MPI_Group_difference')
    call MPI_Group_free(all, ierror)
    call MPI_Group_free(even, ierror)
    call MPI_Group_free(odd, ierror)
    call MPI_Group_free(world, ierror)
  end subroutine

  subroutine communicators()
    HANDLE(MPI_Comm) :: other, part
    HANDLE(MPI_Group) :: group
    character(len=MPI_MAX_OBJECT_NAME) :: name
    integer :: result, place, size, length, total
    logical :: flag
    call MPI_Comm_dup(MPI_COMM_WORLD, other, ierror)
    call MPI_Comm_compare(MPI_COMM_WORLD, other, result, ierror)
    call expect_equal(result, MPI_CONGRUENT, 'MPI_Comm_compare')
    call expect(other /= MPI_COMM_WORLD, 'a copy has another handle')
    call MPI_Comm_get_name(MPI_COMM_WORLD, name, length, ierror)
    call expect(name == 'MPI_COMM_WORLD' .and. length == 14, 'MPI_Comm_get_name')
    call MPI_Comm_set_name(other, 'a world of its own', ierror)
    call MPI_Comm_get_name(other, name, length, ierror)
    call expect(name == 'a world of its own' .and. length == 18, 'MPI_Comm_set_name')
    call MPI_Comm_split(other, mod(rank, 2), -rank, part, ierror)
    call MPI_Comm_rank(part, place, ierror)
    call MPI_Comm_size(part, size, ierror)
    call expect_equal(size, (ranks + 1 - mod(rank, 2)) / 2, 'the size of a part')
    call expect_equal(place, size - 1 - rank / 2, 'the rank in a part')
    call MPI_Allreduce(rank, total, 1, MPI_INTEGER, MPI_SUM, part, ierror)
    call expect_equal(total, sum([(i, i = mod(rank, 2), ranks - 1, 2)]), 'a sum in a part')
    call MPI_Comm_free(part, ierror)
    call expect(part == MPI_COMM_NULL, 'MPI_Comm_free')
    call MPI_Comm_split(other, merge(0, MPI_UNDEFINED, rank == 0), 0, part, ierror)
    call expect((part /= MPI_COMM_NULL) .eqv. rank == 0, 'a colour of MPI_UNDEFINED')
    if (rank == 0) call MPI_Comm_free(part, ierror)
    call MPI_Comm_group(other, group, ierror)
    call MPI_Comm_create(other, group, part, ierror)
    call MPI_Comm_test_inter(part, flag, ierror)
    call expect(.not. flag, 'MPI_Comm_test_inter')
    call MPI_Comm_free(part, ierror)
    call MPI_Comm_create_group(other, group, 5, part, ierror)
    call MPI_Comm_free(part, ierror)
    call MPI_Comm_split_type(other, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, part, ierror)
    call MPI_Comm_size(part, size, ierror)
    call expect(size >= 1 .and. size <= ranks, 'MPI_Comm_split_type')
    call MPI_Comm_free(part, ierror)
    call MPI_Group_free(group, ierror)
    call MPI_Comm_free(other, ierror)
  end subroutine

  ! The handle is there when the request is complete, whoever completed it.
  subroutine later()
    HANDLE(MPI_Comm) :: others(2)
    HANDLE(MPI_Request) :: requests(2)
    integer :: result, total
    logical :: flag
    others = MPI_COMM_NULL
    call MPI_Comm_idup(MPI_COMM_WORLD, others(1), requests(1), ierror)
    call MPI_Comm_idup(MPI_COMM_WORLD, others(2), requests(2), ierror)
    flag = .false.
    do while (.not. flag)
      call MPI_Testall(2, requests, flag, MPI_STATUSES_IGNORE, ierror)
    end do
    do i = 1, 2
      call MPI_Comm_compare(MPI_COMM_WORLD, others(i), result, ierror)
      call expect_equal(result, MPI_CONGRUENT, 'MPI_Comm_idup')
      call MPI_Allreduce(i, total, 1, MPI_INTEGER, MPI_SUM, others(i), ierror)
      call expect_equal(total, i * ranks, 'a sum in a copy')
    end do
    call expect(others(1) /= others(2), 'two copies')
    call MPI_Comm_free(others(1), ierror)
    call MPI_Comm_free(others(2), ierror)
  end subroutine

  subroutine between()
    HANDLE(MPI_Comm) :: part, inter, merged
    integer :: size, there, got, half
    logical :: flag
    if (ranks < 2) return
    half = merge(0, 1, rank < ranks / 2)
    call MPI_Comm_split(MPI_COMM_WORLD, half, rank, part, ierror)
    call MPI_Intercomm_create(part, 0, MPI_COMM_WORLD, merge(ranks / 2, 0, half == 0), 4, inter, &
      ierror)
    call MPI_Comm_test_inter(inter, flag, ierror)
    call expect(flag, 'MPI_Comm_test_inter of an intercommunicator')
    call MPI_Comm_remote_size(inter, there, ierror)
    call expect_equal(there, merge(ranks - ranks / 2, ranks / 2, half == 0), &
      'MPI_Comm_remote_size')
    call MPI_Allreduce(1, got, 1, MPI_INTEGER, MPI_SUM, inter, ierror)
    call expect_equal(got, there, 'a sum over the others')
    call MPI_Intercomm_merge(inter, half == 1, merged, ierror)
    call MPI_Comm_rank(merged, got, ierror)
    call MPI_Comm_size(merged, size, ierror)
    call expect(got == rank .and. size == ranks, 'MPI_Intercomm_merge')
    call MPI_Comm_free(merged, ierror)
    call MPI_Comm_free(inter, ierror)
    call MPI_Comm_free(part, ierror)
  end subroutine

  subroutine grids()
    HANDLE(MPI_Comm) :: grid, row
    integer :: dims(2), found(2), here(2), place, from, to, number, status
    logical :: periods(2)
    dims = 0
    call MPI_Dims_create(ranks, 2, dims, ierror)
    call expect_equal(product(dims), ranks, 'MPI_Dims_create')
    call MPI_Cart_create(MPI_COMM_WORLD, 2, dims, [.true., .false.], .false., grid, ierror)
    call MPI_Topo_test(grid, status, ierror)
    call expect_equal(status, MPI_CART, 'MPI_Topo_test')
    call MPI_Cartdim_get(grid, number, ierror)
    call expect_equal(number, 2, 'MPI_Cartdim_get')
    call MPI_Cart_get(grid, 2, found, periods, here, ierror)
    call expect_all(found, dims, 'the dimensions of MPI_Cart_get')
    call expect(periods(1) .and. .not. periods(2), 'the periods of MPI_Cart_get')
    call MPI_Cart_rank(grid, here, place, ierror)
    call expect_equal(place, rank, 'MPI_Cart_rank')
    call MPI_Cart_coords(grid, rank, 2, found, ierror)
    call expect_all(found, here, 'MPI_Cart_coords')
    call MPI_Cart_shift(grid, 1, 1, from, to, ierror)
    call expect((to == MPI_PROC_NULL) .eqv. here(2) == dims(2) - 1, 'the end of MPI_Cart_shift')
    call MPI_Cart_shift(grid, 0, 1, from, to, ierror)
    call expect_equal(to, mod(here(1) + 1, dims(1)) * dims(2) + here(2), 'MPI_Cart_shift')
    call MPI_Cart_sub(grid, [.true., .false.], row, ierror)
    call MPI_Comm_size(row, number, ierror)
    call expect_equal(number, dims(1), 'MPI_Cart_sub')
    call neighbors(grid)
    call MPI_Comm_free(row, ierror)
    call MPI_Comm_free(grid, ierror)
  end subroutine

  subroutine neighbors(grid)
    HANDLE(MPI_Comm), intent(in) :: grid
    HANDLE(MPI_Datatype) :: types(4)
    integer :: got(4), again(4), from(2), to(2)
    integer(kind=MPI_ADDRESS_KIND) :: places(4), sends(4)
    got = -1
    call MPI_Neighbor_allgather(rank, 1, MPI_INTEGER, got, 1, MPI_INTEGER, grid, ierror)
    do i = 1, 2
      call MPI_Cart_shift(grid, i - 1, 1, from(i), to(i), ierror)
      call expect_equal(got(2 * i - 1), merge(-1, from(i), from(i) == MPI_PROC_NULL), 'one side')
      call expect_equal(got(2 * i), merge(-1, to(i), to(i) == MPI_PROC_NULL), 'the other side')
    end do
    again = -1
    types = MPI_INTEGER
    places = [(4 * i, i = 0, 3)]
    sends = 0
    call MPI_Neighbor_alltoallw(rank, [1, 1, 1, 1], sends, types, again, [1, 1, 1, 1], places, &
      types, grid, ierror)
    call expect_all(again, got, 'MPI_Neighbor_alltoallw')
  end subroutine

  subroutine graphs()
    HANDLE(MPI_Comm) :: graph
    integer :: ends(ranks), edges(ranks), found(2), others(2), ins, outs, weights(1), nodes, links
    logical :: weighted
    ends = [(i, i = 1, ranks)]
    edges = [(mod(i, ranks), i = 1, ranks)]
    call MPI_Graph_create(MPI_COMM_WORLD, ranks, ends, edges, .false., graph, ierror)
    call MPI_Graphdims_get(graph, nodes, links, ierror)
    call expect(nodes == ranks .and. links == ranks, 'MPI_Graphdims_get')
    call MPI_Graph_neighbors(graph, rank, 1, found, ierror)
    call expect_equal(found(1), mod(rank + 1, ranks), 'MPI_Graph_neighbors')
    call MPI_Comm_free(graph, ierror)
    call MPI_Dist_graph_create_adjacent(MPI_COMM_WORLD, 1, [mod(rank + ranks - 1, ranks)], &
      MPI_UNWEIGHTED, 1, [mod(rank + 1, ranks)], MPI_UNWEIGHTED, MPI_INFO_NULL, .false., graph, &
      ierror)
    call MPI_Dist_graph_neighbors_count(graph, ins, outs, weighted, ierror)
    call expect(ins == 1 .and. outs == 1 .and. .not. weighted, 'MPI_UNWEIGHTED')
    call MPI_Dist_graph_neighbors(graph, 1, found, MPI_UNWEIGHTED, 1, others, MPI_UNWEIGHTED, ierror)
    call expect(found(1) == mod(rank + ranks - 1, ranks), 'a source of a graph')
    call expect(others(1) == mod(rank + 1, ranks), 'a target of a graph')
    call MPI_Comm_free(graph, ierror)
    call MPI_Dist_graph_create(MPI_COMM_WORLD, 1, [rank], [1], [mod(rank + 1, ranks)], [rank + 3], &
      MPI_INFO_NULL, .false., graph, ierror)
    call MPI_Dist_graph_neighbors(graph, 1, found, weights, 1, others, ends, ierror)
    call expect(weights(1) == mod(rank + ranks - 1, ranks) + 3, 'a weight of a graph')
    call expect(ends(1) == rank + 3, 'another weight of a graph')
    call MPI_Comm_free(graph, ierror)
    call MPI_Dist_graph_create_adjacent(MPI_COMM_WORLD, 0, found, MPI_WEIGHTS_EMPTY, 0, found, &
      MPI_WEIGHTS_EMPTY, MPI_INFO_NULL, .false., graph, ierror)
    call MPI_Dist_graph_neighbors_count(graph, ins, outs, weighted, ierror)
    call expect(ins == 0 .and. outs == 0 .and. weighted, 'MPI_WEIGHTS_EMPTY')
    call MPI_Comm_free(graph, ierror)
  end subroutine

  subroutine infos()
    HANDLE(MPI_Info) :: info, other
    character(len=20) :: value
    character(len=MPI_MAX_INFO_KEY) :: key
    character(len=3) :: short
    integer :: count, length
    logical :: flag
    call MPI_Info_create(info, ierror)
    call MPI_Info_set(info, '  colour ', '  deep blue  ', ierror)
    call MPI_Info_set(info, 'shape', 'round', ierror)
    value = 'untouched'
    call MPI_Info_get(info, 'colour', 20, value, flag, ierror)
    call expect(flag .and. value == 'deep blue', 'MPI_Info_get: ' // value)
    call MPI_Info_get(info, 'colour', 4, value, flag, ierror)
    call expect(flag .and. value == 'deep', 'MPI_Info_get of four: ' // value)
    call MPI_Info_get(info, 'size', 20, value, flag, ierror)
    call expect(.not. flag .and. value == 'deep', 'MPI_Info_get of nothing')
    length = 20
    call MPI_Info_get_string(info, 'colour ', length, value, flag, ierror)
    call expect(flag .and. value == 'deep blue' .and. length == 9, 'MPI_Info_get_string')
    length = 3
    call MPI_Info_get_string(info, 'colour', length, short, flag, ierror)
    call expect(flag .and. short == 'dee' .and. length == 9, 'MPI_Info_get_string, cut: ' // short)
    length = 0
    call MPI_Info_get_string(info, 'colour', length, short, flag, ierror)
    call expect(flag .and. short == 'dee' .and. length == 9, 'the length of a value')
    call MPI_Info_get_valuelen(info, 'shape', length, flag, ierror)
    call expect(flag .and. length == 5, 'MPI_Info_get_valuelen')
    call MPI_Info_get_nkeys(info, count, ierror)
    call expect_equal(count, 2, 'MPI_Info_get_nkeys')
    call MPI_Info_get_nthkey(info, 1, key, ierror)
    call expect(key == 'shape', 'keys count from 0: ' // key)
    call MPI_Info_dup(info, other, ierror)
    call MPI_Info_delete(other, 'colour', ierror)
    call MPI_Info_get_nkeys(other, count, ierror)
    call expect_equal(count, 1, 'MPI_Info_delete')
    call MPI_Info_free(other, ierror)
    call MPI_Info_free(info, ierror)
    call expect(info == MPI_INFO_NULL, 'MPI_Info_free')
  end subroutine

  subroutine environment()
    character(len=MPI_MAX_PROCESSOR_NAME) :: name
    character(len=MPI_MAX_LIBRARY_VERSION_STRING) :: version
    integer :: length, major, minor
    call MPI_Get_processor_name(name, length, ierror)
    call expect(length > 0 .and. len_trim(name) == length, 'MPI_Get_processor_name')
    call MPI_Get_library_version(version, length, ierror)
    call expect(index(version, 'Strait') > 0 .and. len_trim(version) == length, &
      'MPI_Get_library_version')
    call MPI_Abi_get_version(major, minor, ierror)
    call expect(major == 1, 'MPI_Abi_get_version')
    call expect(MPI_Wtime() > 0 .and. MPI_Wtick() > 0, 'MPI_Wtime')
    call MPI_Pcontrol(1)
  end subroutine
end program
