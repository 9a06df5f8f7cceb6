package org.rlhf4j.core.checkpoint;

import java.math.BigInteger;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.RlhfException;

/**
 * Reads what {@code torch.save} pickles for a dictionary of tensors, and nothing else. A pickle is
 * a program that may call any Python function by its name; this reader calls none. It knows a few
 * names, which it turns into records of its own, and refuses every other.
 *
 * <p>Values: {@link String}, {@link Long}, {@link BigInteger}, {@link Double}, {@link Boolean},
 * null, {@link Map}, {@link List}, {@link Tuple}, {@link Storage}, {@link Tensor}.
 *
 * @see <a href="https://github.com/python/cpython/blob/main/Lib/pickletools.py">The opcodes</a>
 */
final class PickleReader {
  /** A model of a hundred thousand tensors has a pickle of 15 MB. */
  static final int LONGEST = 1 << 24;

  /** Each may take a hundred bytes of Java's memory for one of the file's. */
  private static final int MOST_CONTAINERS = 2_000_000;

  private static final int DEEPEST_STACK = 100_000;
  private static final int LONGEST_NAME = 200;
  private static final int PROTOCOL = 2;

  /** Far more dimensions than any weight has. */
  private static final int MOST_DIMENSIONS = 16;

  private static final Object MARK = new Object();
  private static final Tuple EMPTY = new Tuple(List.of());

  private static final Map<String, StoredType> STORAGES =
      Map.of(
          "torch.DoubleStorage", StoredType.F64,
          "torch.FloatStorage", StoredType.F32,
          "torch.HalfStorage", StoredType.F16,
          "torch.BFloat16Storage", StoredType.BF16,
          "torch.LongStorage", StoredType.I64,
          "torch.IntStorage", StoredType.I32,
          "torch.ShortStorage", StoredType.I16,
          "torch.CharStorage", StoredType.I8,
          "torch.ByteStorage", StoredType.U8,
          "torch.BoolStorage", StoredType.BOOL);

  /** What a pickle may ask for besides the classes of storages. */
  private enum Function {
    DICTIONARY("collections.OrderedDict"),
    TENSOR("torch._utils._rebuild_tensor_v2"),
    PARAMETER("torch._utils._rebuild_parameter");

    private final String name;

    Function(String name) {
      this.name = name;
    }
  }

  /** A Python tuple. */
  record Tuple(List<Object> items) {}

  /**
   * Numbers that lie outside the pickle.
   *
   * @param type of each
   * @param key under which they are found
   * @param elements how many
   */
  record Storage(StoredType type, String key, long elements) {}

  /**
   * A view of a storage.
   *
   * @param storage what it looks at
   * @param offset of its first element
   * @param shape outermost first
   * @param strides steps between neighbours, in elements
   */
  record Tensor(Storage storage, long offset, List<Long> shape, List<Long> strides) {}

  private final String place;
  private final ByteBuffer input;
  private final List<Object> stack = new ArrayList<>();
  private final Map<Integer, Object> memo = new HashMap<>();
  private int containers;

  private PickleReader(ByteBuffer input, String place) {
    this.place = place;
    this.input = input;
  }

  /**
   * Reads one pickle; the buffer's position ends behind it.
   *
   * @param place what begins every message
   * @throws RlhfException when it is damaged, or asks for anything but tensors and dictionaries
   */
  static Object read(ByteBuffer input, String place) {
    PickleReader reader = new PickleReader(input.order(ByteOrder.LITTLE_ENDIAN), place);
    try {
      return reader.run();
    } catch (BufferUnderflowException e) {
      throw RlhfException.input(place + ": the pickle is cut short", e);
    }
  }

  /** What a value is, in words; its content may be without end. */
  static String kind(Object value) {
    if (value == null) {
      return "None";
    } else if (value instanceof Map) {
      return "a dictionary";
    } else if (value instanceof List) {
      return "a list";
    } else if (value instanceof Tuple) {
      return "a tuple";
    } else if (value instanceof String text) {
      return "the text '" + Printable.of(text) + "'";
    } else if (value instanceof Tensor || value instanceof Storage) {
      return "a tensor";
    } else if (value instanceof Number || value instanceof Boolean) {
      return Printable.of(value.toString());
    }
    return "a name";
  }

  private Object run() {
    while (true) {
      int opcode = Byte.toUnsignedInt(input.get());
      switch (opcode) {
        case 0x80 -> requireProtocol(Byte.toUnsignedInt(input.get()));
        case '(' -> push(MARK);
        case 'N' -> push(null);
        case 0x88 -> push(true);
        case 0x89 -> push(false);
        case 'K' -> push((long) Byte.toUnsignedInt(input.get()));
        case 'M' -> push((long) Short.toUnsignedInt(input.getShort()));
        case 'J' -> push((long) input.getInt());
        case 0x8a -> push(wholeNumber());
        case 'G' -> push(Double.longBitsToDouble(Long.reverseBytes(input.getLong())));
        case 'X' -> push(new String(bytes(input.getInt()), StandardCharsets.UTF_8));
        case '}' -> push(counted(new LinkedHashMap<>()));
        case ']' -> push(counted(new ArrayList<>()));
        case ')' -> push(EMPTY);
        case 't' -> push(tuple(sinceMark()));
        case 0x85 -> push(tuple(last(1)));
        case 0x86 -> push(tuple(last(2)));
        case 0x87 -> push(tuple(last(3)));
        case 'q' -> memo.put(Byte.toUnsignedInt(input.get()), top());
        case 'r' -> memo.put(input.getInt(), top());
        case 'h' -> push(remembered(Byte.toUnsignedInt(input.get())));
        case 'j' -> push(remembered(input.getInt()));
        case 'a' -> append(last(1));
        case 'e' -> append(sinceMark());
        case 's' -> setItems(last(2));
        case 'u' -> setItems(sinceMark());
        case 'c' -> push(named(line() + "." + line()));
        case 'Q' -> push(storage(pop()));
        case 'R' -> {
          Object arguments = pop();
          push(call(pop(), arguments));
        }
        case 'b' -> build(pop());
        case '.' -> {
          Object result = pop();
          if (!stack.isEmpty()) {
            throw damaged("something is left over at its end");
          }
          return result;
        }
        default ->
            throw damaged(
                "opcode 0x%02x at byte %d is none that torch.save writes"
                    .formatted(opcode, input.position() - 1));
      }
    }
  }

  private void requireProtocol(int protocol) {
    if (protocol != PROTOCOL) {
      throw RlhfException.input(
          place + ": pickle protocol " + protocol + " is not supported, expected " + PROTOCOL);
    }
  }

  private Object wholeNumber() {
    byte[] bytes = bytes(Byte.toUnsignedInt(input.get()));
    for (int i = 0; i < bytes.length / 2; i++) {
      byte kept = bytes[i];
      bytes[i] = bytes[bytes.length - 1 - i];
      bytes[bytes.length - 1 - i] = kept;
    }
    BigInteger value = bytes.length == 0 ? BigInteger.ZERO : new BigInteger(bytes);
    // Not a conditional expression, which would have one type for both.
    if (value.bitLength() < Long.SIZE) {
      return value.longValue();
    }
    return value;
  }

  private byte[] bytes(int length) {
    if (length < 0 || length > input.remaining()) {
      throw new BufferUnderflowException();
    }
    byte[] bytes = new byte[length];
    input.get(bytes);
    return bytes;
  }

  private String line() {
    StringBuilder text = new StringBuilder();
    for (char next = (char) input.get(); next != '\n'; next = (char) input.get()) {
      if (text.length() == LONGEST_NAME) {
        throw damaged("a name in it has no end");
      }
      text.append(next);
    }
    return text.toString();
  }

  private void push(Object value) {
    if (stack.size() == DEEPEST_STACK) {
      throw damaged("it keeps more than " + DEEPEST_STACK + " values waiting");
    }
    stack.add(value);
  }

  private Object top() {
    if (stack.isEmpty() || stack.get(stack.size() - 1) == MARK) {
      throw damaged("a value is missing");
    }
    return stack.get(stack.size() - 1);
  }

  private Object pop() {
    Object value = top();
    stack.remove(stack.size() - 1);
    return value;
  }

  private List<Object> last(int count) {
    List<Object> values = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      values.add(0, pop());
    }
    return values;
  }

  private List<Object> sinceMark() {
    int mark = stack.size() - 1;
    while (mark >= 0 && stack.get(mark) != MARK) {
      mark--;
    }
    if (mark < 0) {
      throw damaged("a mark is missing");
    }
    List<Object> values = new ArrayList<>(stack.subList(mark + 1, stack.size()));
    stack.subList(mark, stack.size()).clear();
    return values;
  }

  private Object remembered(int number) {
    Object value = memo.get(number);
    if (value == null && !memo.containsKey(number)) {
      throw damaged("value " + number + " is used but was never kept");
    }
    return value;
  }

  private <T> T counted(T container) {
    containers++;
    if (containers > MOST_CONTAINERS) {
      throw damaged("it has more than " + MOST_CONTAINERS + " containers");
    }
    return container;
  }

  private Tuple tuple(List<Object> items) {
    return counted(new Tuple(items));
  }

  @SuppressWarnings("unchecked") // a list on the stack is one that this reader made
  private void append(List<Object> values) {
    if (!(top() instanceof List<?> list)) {
      throw damaged("something is appended to " + kind(top()));
    }
    ((List<Object>) list).addAll(values);
  }

  @SuppressWarnings("unchecked") // a map on the stack is one that this reader made
  private void setItems(List<Object> values) {
    if (!(top() instanceof Map<?, ?> map) || values.size() % 2 != 0) {
      throw damaged("items are set in " + kind(top()));
    }
    for (int i = 0; i < values.size(); i += 2) {
      Object key = values.get(i);
      if (!(key instanceof String || key instanceof Long)) {
        throw damaged("a key is " + kind(key) + ", expected a text");
      }
      if (map.containsKey(key)) {
        throw RlhfException.input(
            place + ": key " + Printable.of(key.toString()) + " is there twice");
      }
      ((Map<Object, Object>) map).put(key, values.get(i + 1));
    }
  }

  /** The class or function of a name, as a value on the stack that nothing but this reader uses. */
  private Object named(String name) {
    StoredType type = STORAGES.get(name);
    if (type != null) {
      return type;
    }
    for (Function function : Function.values()) {
      if (function.name.equals(name)) {
        return function;
      }
    }
    throw RlhfException.input(
        place
            + ": the pickle asks for "
            + Printable.of(name)
            + ", which is refused: only tensors and dictionaries of them are read, and nothing is"
            + " executed");
  }

  /** {@code ('storage', class, key, device, elements)}; old files add a view, which is None. */
  private Storage storage(Object id) {
    if (id instanceof Tuple tuple
        && (tuple.items().size() == 5
            || (tuple.items().size() == 6 && tuple.items().get(5) == null))
        && "storage".equals(tuple.items().get(0))
        && tuple.items().get(1) instanceof StoredType type
        && tuple.items().get(2) instanceof String key
        && tuple.items().get(4) instanceof Long elements
        && elements >= 0) {
      return new Storage(type, key, elements);
    }
    throw damaged("a storage is described wrongly");
  }

  private Object call(Object callee, Object arguments) {
    if (callee instanceof Function function && arguments instanceof Tuple tuple) {
      List<Object> items = tuple.items();
      switch (function) {
        case DICTIONARY -> {
          if (items.isEmpty()) {
            return counted(new LinkedHashMap<>());
          }
        }
        case TENSOR -> {
          if (items.size() >= 6
              && items.get(0) instanceof Storage storage
              && items.get(1) instanceof Long offset
              && offset >= 0) {
            List<Long> shape = numbers(items.get(2));
            List<Long> strides = numbers(items.get(3));
            if (shape.size() == strides.size()) {
              return new Tensor(storage, offset, shape, strides);
            }
          }
        }
        case PARAMETER -> {
          if (!items.isEmpty() && items.get(0) instanceof Tensor tensor) {
            return tensor;
          }
        }
      }
      throw damaged(function.name + " is called with other arguments than torch.save gives it");
    }
    throw damaged(kind(callee) + " is called");
  }

  private List<Long> numbers(Object value) {
    List<Long> numbers = new ArrayList<>();
    if (value instanceof Tuple tuple && tuple.items().size() <= MOST_DIMENSIONS) {
      for (Object item : tuple.items()) {
        if (!(item instanceof Long number) || number < 0) {
          throw damaged("a shape or stride is " + kind(item) + ", expected a whole number from 0");
        }
        numbers.add(number);
      }
      return numbers;
    }
    throw damaged(
        "a shape or stride is " + kind(value) + ", expected a tuple of at most " + MOST_DIMENSIONS);
  }

  /** A module's state dictionary carries versions of its modules, which say nothing of tensors. */
  private void build(Object state) {
    if (!(top() instanceof Map) || !(state instanceof Map)) {
      throw damaged("a state is given to " + kind(top()));
    }
  }

  private RlhfException damaged(String what) {
    return RlhfException.input(place + ": the pickle is damaged or none of weights: " + what);
  }
}
