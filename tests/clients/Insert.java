import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.StringReader;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import org.postgresql.PGConnection;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

/**
 * Sends a batch of orders with JDBC: {@code Insert WAY URL TABLE}, the rows on stdin as COPY's text format has them. Prints
 * what the driver reported, or the error that it gave, as JSON.
 */
public class Insert {
    static final String COLUMNS = "(order_id, amount, placed_at, note)";
    static String table;

    public static void main(String[] arguments) throws Exception {
        String way = arguments[0];
        table = arguments[2];
        List<String> lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))
                .lines().collect(Collectors.toList());
        try (Connection connection = DriverManager.getConnection(arguments[1])) {
            connection.setAutoCommit(way.equals("autocommit"));
            try {
                String reports;
                switch (way) {
                    case "batch":
                    case "autocommit":
                        reports = batch(connection, lines);
                        break;
                    case "each":
                        reports = each(connection, lines);
                        break;
                    case "keys":
                        reports = keys(connection, lines);
                        break;
                    case "copy":
                        reports = copy(connection, lines);
                        break;
                    default:
                        throw new IllegalArgumentException(way);
                }
                if (!connection.getAutoCommit()) {
                    connection.commit();
                }
                System.out.println("{\"reports\": " + reports + "}");
            } catch (SQLException error) {
                if (!connection.getAutoCommit()) {
                    connection.rollback();
                }
                System.out.println("{\"error\": " + describe(error) + "}");
            }
        }
    }

    static String insert() {
        return "INSERT INTO " + table + " " + COLUMNS + " VALUES (?, ?, ?, ?)";
    }

    static String batch(Connection connection, List<String> lines) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(insert())) {
            for (String line : lines) {
                bind(statement, line);
                statement.addBatch();
            }
            return Arrays.toString(statement.executeBatch());
        }
    }

    /** As a persistence framework does it that wants to know the ids. */
    static String keys(Connection connection, List<String> lines) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(insert(), new String[] {"id"})) {
            for (String line : lines) {
                bind(statement, line);
                statement.addBatch();
            }
            int[] counts = statement.executeBatch();
            List<Long> ids = new ArrayList<>();
            try (ResultSet generated = statement.getGeneratedKeys()) {
                while (generated.next()) {
                    ids.add(generated.getLong(1));
                }
            }
            return "{\"counts\": " + Arrays.toString(counts) + ", \"ids\": " + ids + "}";
        }
    }

    static String each(Connection connection, List<String> lines) throws SQLException {
        List<Integer> counts = new ArrayList<>();
        try (PreparedStatement statement = connection.prepareStatement(insert(), Statement.NO_GENERATED_KEYS)) {
            for (String line : lines) {
                bind(statement, line);
                counts.add(statement.executeUpdate());
            }
        }
        return counts.toString();
    }

    static String copy(Connection connection, List<String> lines) throws Exception {
        String text = lines.stream().map(line -> line + "\n").collect(Collectors.joining());
        return Long.toString(connection.unwrap(PGConnection.class).getCopyAPI()
                .copyIn("COPY " + table + " " + COLUMNS + " FROM STDIN", new StringReader(text)));
    }

    static void bind(PreparedStatement statement, String line) throws SQLException {
        String[] values = line.split("\t", -1);
        statement.setString(1, values[0]);
        statement.setBigDecimal(2, new BigDecimal(values[1]));
        statement.setObject(3, OffsetDateTime.parse(values[2]));
        if (values[3].equals("\\N")) {
            statement.setNull(4, Types.VARCHAR);
        } else {
            statement.setString(4, values[3]);
        }
    }

    static String describe(SQLException error) {
        String counts = "null";
        if (error instanceof BatchUpdateException) {
            counts = Arrays.toString(((BatchUpdateException) error).getUpdateCounts());
        }
        // What the server said is in the driver's own exception, behind that of the batch.
        Throwable own = error;
        while (own != null && !(own instanceof PSQLException)) {
            own = own.getCause();
        }
        ServerErrorMessage said = own == null ? null : ((PSQLException) own).getServerErrorMessage();
        return "{\"type\": \"" + error.getClass().getSimpleName() + "\", \"sqlstate\": \"" + error.getSQLState()
                + "\", \"counts\": " + counts
                + ", \"detail\": " + quoted(said == null ? null : said.getDetail())
                + ", \"constraint\": " + quoted(said == null ? null : said.getConstraint()) + "}";
    }

    static String quoted(String text) {
        return text == null ? "null" : "\"" + text.replace("\\", "\\\\").replace("\"", "\\\"") + "\"";
    }
}
